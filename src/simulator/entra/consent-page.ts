import type { User } from '../directory/objects.ts'
import type { HttpAnswer, HttpRequest } from '../http.ts'
import { AadstsError } from './aadsts.ts'
import type { SimulatedApp } from './apps.ts'
import type { Account, Authority } from './authority.ts'
import { consentedScopes } from './consents.ts'
import { decisionPage } from './pages.ts'

const simulatorParameters = new Set(['search', 'picked', 'consent'])

/** Without an order about consents nobody is asked: the app is told at once what a person would end with. */
export function assertConsented(
  authority: Authority,
  app: SimulatedApp,
  parameters: URLSearchParams,
  user: User | undefined,
): void {
  const { scopes, needs } = consentedScopes(authority, app, user, parameters.get('scope') ?? '')
  if (needs === 'nothing') return
  if (parameters.get('prompt') === 'none') throw new AadstsError(65001, app.clientId)
  throw new AadstsError(90094, authority.directory.displayName, scopes.missing.join(' '))
}

/** Asks the person for consent, where it is theirs to give, and takes what they decided on that page. */
export async function consentPage(
  { home, user }: Account,
  request: HttpRequest,
  app: SimulatedApp,
  parameters: URLSearchParams,
): Promise<HttpAnswer | undefined> {
  const decision = request.method === 'POST' ? parameters.get('consent') : null
  if (decision === 'decline') throw new AadstsError(65004)
  const { scopes, needs } = consentedScopes(home, app, user, parameters.get('scope') ?? '')
  if (needs === 'nothing') return undefined
  if (!home.consents.ordered(app.clientId) || parameters.get('prompt') === 'none')
    assertConsented(home, app, parameters, user)
  if (needs === 'person' && decision === 'accept') {
    home.consents.accept(app.clientId, user.id)
    return undefined
  }
  const name = app.displayName ?? app.clientId
  const refused = new AadstsError(90094, home.directory.displayName, scopes.missing.join(' '))
  const back = needs === 'person' ? 'Cancel' : 'Return to the application without granting consent'
  return await decisionPage({
    action: request.path,
    title: needs === 'person' ? 'Permissions requested' : 'Need admin approval',
    text:
      needs === 'person'
        ? `${name} asks for: ${parameters.get('scope') ?? ''}`
        : `${name} needs permission to access resources in your organization that only an admin can grant.\n${refused.message}`,
    fields: { ...carried(parameters), picked: user.id },
    choices: [
      ...(needs === 'person' ? [{ label: 'Accept', fields: { consent: 'accept' } }] : []),
      { label: back, fields: { consent: 'decline' } },
    ],
  })
}

/** The authorization request itself, which a page carries along. */
export function carried(parameters: URLSearchParams): Record<string, string> {
  return Object.fromEntries([...parameters].filter(([name]) => !simulatorParameters.has(name)))
}
