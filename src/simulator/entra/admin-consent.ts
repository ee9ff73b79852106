import type { HttpAnswer, HttpRequest } from '../http.ts'
import { isRegisteredRedirectUri } from './apps.ts'
import { AadstsError } from './aadsts.ts'
import { findApp, type Authority } from './authority.ts'
import { decisionPage } from './pages.ts'

const simulatorParameters = new Set(['decision', 'for_tenant'])

/**
 * The page on which an administrator consents for everybody (Entra docs: v2-oauth2-client-creds-grant-flow, request the
 * permissions from a directory admin). Whoever opens it counts as administrator.
 */
export async function adminConsent(authority: Authority, request: HttpRequest): Promise<HttpAnswer> {
  const parameters = request.method === 'POST' ? new URLSearchParams(request.body) : request.query
  const app = findApp(authority, parameters.get('client_id') ?? undefined)
  const redirectUri = parameters.get('redirect_uri') ?? ''
  if (!isRegisteredRedirectUri(app, redirectUri)) throw new AadstsError(50011, redirectUri, app.clientId)
  const tenants = authority.shared ? authority.tenants : [authority]
  const decision = request.method === 'POST' ? parameters.get('decision') : null
  const tenant = tenants.find(({ directory }) => directory.tenantId === parameters.get('for_tenant'))
  if (decision === 'decline')
    return redirect(parameters, {
      error: 'permission_denied',
      error_description: 'The admin canceled the request',
    })
  if (decision === 'accept' && tenant) {
    tenant.consents.order(app.clientId, undefined)
    const scope = parameters.get('scope')
    return redirect(parameters, {
      admin_consent: 'True',
      tenant: tenant.directory.tenantId,
      ...(scope === null ? {} : { scope }),
    })
  }
  return decisionPage({
    action: request.path,
    title: 'Permissions requested',
    text: `${app.displayName ?? app.clientId} asks for everybody: ${app.delegatedScopes.join(', ')}`,
    fields: Object.fromEntries([...parameters].filter(([name]) => !simulatorParameters.has(name))),
    choices: [
      ...tenants.map(({ directory }) => ({
        label: `Accept for ${directory.displayName}`,
        fields: { decision: 'accept', for_tenant: directory.tenantId },
      })),
      { label: 'Cancel', fields: { decision: 'decline' } },
    ],
  })
}

function redirect(parameters: URLSearchParams, result: Record<string, string>): HttpAnswer {
  const url = new URL(parameters.get('redirect_uri') ?? '')
  const state = parameters.get('state')
  for (const [name, value] of Object.entries(state === null ? result : { ...result, state }))
    url.searchParams.append(name, value)
  return { status: 302, headers: { location: url.href, 'cache-control': 'no-store' }, body: '' }
}
