import { expect } from 'vitest'
import { z } from 'zod'
import {
  defaultApp,
  defaultClientId,
  defaultClientSecret,
  type SimulatedApp,
  type Simulator,
  type User,
} from '../../src/simulator/index.ts'

export const redirectUri = 'http://localhost:4321/source/oauth/callback/entra-id/'
export const scope = 'openid profile email offline_access User.Read GroupMember.Read.All'

/** An app beside the default one, in whose API the default app has a role. */
export const otherApp = {
  ...defaultApp,
  clientId: 'b6b0a4f1-2f0c-4f5e-9a87-5e2d3c1b0a99',
  clientSecret: 'other',
  ownRoles: ['Groups.Read'],
}

export const credentials = { client_id: defaultClientId, client_secret: defaultClientSecret }

export const tokenError = z.object({
  error: z.string(),
  error_description: z.string(),
  error_codes: z.array(z.int()).min(1),
  timestamp: z.string().regex(/^\d{4}-\d\d-\d\d \d\d:\d\d:\d\dZ$/),
  trace_id: z.guid(),
  correlation_id: z.guid(),
  error_uri: z.url(),
  suberror: z.string().optional(),
  claims: z.string().optional(),
})

/** The first user of the tenant; as long as nobody is deleted, always the same. */
export function someone({ tenant }: Simulator): User {
  return tenant.users()[0] ?? tenant.addUser()
}

/** Where a browser begins to sign in to the default app, unless the parameters say otherwise. */
export function authorizeUrl(simulator: Simulator, parameters: Record<string, string>): string {
  const query = new URLSearchParams({
    client_id: defaultClientId,
    response_type: 'code',
    redirect_uri: redirectUri,
    scope,
    ...parameters,
  })
  return `${authorityOf(simulator)}/oauth2/v2.0/authorize?${query.toString()}`
}

/** The authorization endpoint's own answer: a redirect is not followed. */
export async function authorize(
  simulator: Simulator,
  parameters: Record<string, string>,
  headers: Record<string, string> = {},
): Promise<Response> {
  return await fetch(authorizeUrl(simulator, parameters), { redirect: 'manual', headers })
}

/** An authorization code of {@link someone}. */
export async function codeFor(
  simulator: Simulator,
  parameters: Record<string, string> = {},
): Promise<string> {
  const hint = { login_hint: someone(simulator).userPrincipalName }
  const answer = await authorize(simulator, { ...hint, ...parameters })
  return new URL(answer.headers.get('location') ?? '').searchParams.get('code') ?? ''
}

/** What the default app sends to have a code redeemed, unless told otherwise. */
export function redeem(code: string, more: Record<string, string> = {}) {
  return {
    ...credentials,
    grant_type: 'authorization_code',
    code,
    redirect_uri: redirectUri,
    ...more,
  }
}

/** What the default app sends to renew a token, unless told otherwise. */
export function refresh(token: string, more: Record<string, string> = {}) {
  return { ...credentials, grant_type: 'refresh_token', refresh_token: token, ...more }
}

/** The token endpoint's answer, whether tokens or a refusal. */
export async function askToken(
  simulator: Simulator,
  parameters: Record<string, string>,
  headers: Record<string, string> = {},
): Promise<Response> {
  const body = new URLSearchParams(parameters)
  return await fetch(`${authorityOf(simulator)}/oauth2/v2.0/token`, { method: 'POST', body, headers })
}

/** Asks for a token, and what the refusal says for machines; its text is checked. */
export async function refusedToken(
  simulator: Simulator,
  parameters: Record<string, string>,
  headers: Record<string, string> = {},
) {
  const answer = await askToken(simulator, parameters, headers)
  const { error, error_codes: codes, suberror, error_description } = tokenError.parse(await answer.json())
  expect(error_description).toMatch(new RegExp(`^AADSTS${codes[0]}: .*\r\nTrace ID: `, 's'))
  return { status: answer.status, error, code: codes[0], ...(suberror === undefined ? {} : { suberror }) }
}

const tokenAnswer = z.object({ access_token: z.string() })

/** A Graph token of an app itself. */
export async function appToken(
  simulator: Simulator,
  { clientId, clientSecret = '' }: SimulatedApp,
): Promise<string> {
  const answer = await askToken(simulator, {
    client_id: clientId,
    client_secret: clientSecret,
    grant_type: 'client_credentials',
    scope: `${simulator.graphUrl}/.default`,
  })
  return tokenAnswer.parse(await answer.json()).access_token
}

/** What {@link refusedToken} finds, for most codes. */
export function invalid(code: number, error = 'invalid_grant', status = 400) {
  return { status, error, code }
}

/** The tenant's address, where its endpoints begin. */
export function authorityOf({ entraUrl, tenant }: Simulator): string {
  return `${entraUrl}/${tenant.id}`
}
