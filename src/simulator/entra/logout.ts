import { decodeJwt } from 'jose'
import type { HttpAnswer, HttpRequest } from '../http.ts'
import { isRegisteredRedirectUri } from './apps.ts'
import { issuerOf, type Authority } from './authority.ts'
import { signedOutPage, signingOutPage } from './pages.ts'
import { browserSession, endedSessionCookie, type FrontChannelLogout } from './session.ts'

/**
 * Ends the browser's session and returns to a registered URI only (OpenID Connect RP-Initiated Logout). Apps that have a
 * front-channel address are told first, by a page that loads it with `iss` and `sid` (Entra docs: v2-protocols-oidc,
 * single sign-out). Nobody has to choose an account, so that `logout_hint` has nothing to spare.
 */
export async function logout(authority: Authority, request: HttpRequest): Promise<HttpAnswer> {
  const parameters = request.method === 'POST' ? new URLSearchParams(request.body) : request.query
  const sessionId = browserSession(request) ?? hintedSession(parameters.get('id_token_hint'))
  const logouts = sessionId === undefined ? [] : logoutsOf(authority, request.baseUrl, sessionId)
  if (sessionId !== undefined) authority.sessions.end(sessionId, logouts)
  const target = returnAddress(authority, parameters)
  const cookie = { 'set-cookie': endedSessionCookie() }
  if (target !== undefined && logouts.length === 0)
    return { status: 302, headers: { location: target, ...cookie }, body: '' }
  const urls = logouts.map(({ url }) => url)
  const page = await (urls.length > 0 ? signingOutPage(urls, target) : signedOutPage())
  return { ...page, headers: { ...page.headers, ...cookie } }
}

function logoutsOf(authority: Authority, baseUrl: string, sessionId: string): FrontChannelLogout[] {
  const session = authority.sessions.find(sessionId)
  const home = authority.tenants.find(({ directory }) => directory.tenantId === session?.tenantId)
  return authority.apps.flatMap(({ clientId, frontChannelLogoutUri }) => {
    if (!home || frontChannelLogoutUri === undefined || session?.clientIds.has(clientId) !== true) return []
    const url = new URL(frontChannelLogoutUri)
    url.searchParams.set('iss', issuerOf(home, baseUrl))
    url.searchParams.set('sid', sessionId)
    return [{ clientId, sessionId, url: url.href }]
  })
}

function hintedSession(token: string | null): string | undefined {
  try {
    const sid = decodeJwt(token ?? '')['sid']
    return typeof sid === 'string' ? sid : undefined
  } catch {
    return undefined
  }
}

function returnAddress(authority: Authority, parameters: URLSearchParams): string | undefined {
  const target = parameters.get('post_logout_redirect_uri') ?? ''
  const known = authority.apps.some(
    (app) => isRegisteredRedirectUri(app, target) || sameOrigin(app.redirectUris, target),
  )
  const state = parameters.get('state')
  if (!known || state === null) return known ? target : undefined
  const url = new URL(target)
  url.searchParams.set('state', state)
  return url.href
}

function sameOrigin(registered: readonly string[], target: string): boolean {
  if (!URL.canParse(target)) return false
  const { protocol, hostname } = new URL(target)
  return registered.some(
    (uri) => URL.canParse(uri) && new URL(uri).protocol === protocol && new URL(uri).hostname === hostname,
  )
}
