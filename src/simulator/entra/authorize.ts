import { randomBytes } from 'node:crypto'
import type { User } from '../directory/objects.ts'
import type { HttpAnswer, HttpRequest } from '../http.ts'
import { AadstsError, describe } from './aadsts.ts'
import { isRegisteredRedirectUri, type SimulatedApp } from './apps.ts'
import { findAccount, findApp, findGuest, type Account, type Authority } from './authority.ts'
import { declaresCp1 } from './challenges.ts'
import { assertConsented, carried, consentPage } from './consent-page.ts'
import { assertMaySignIn, assertUnchallenged } from './issuing.ts'
import { errorPage, formPostPage, pickerPage } from './pages.ts'
import { grantScopes } from './scopes.ts'
import { browserSession, sessionCookie, signedInUserId } from './session.ts'

const codeLifetime = 10 * 60 * 1000
const usersShown = 50

/** The authorization endpoint (Entra docs: v2-oauth2-auth-code-flow, request an authorization code). */
export async function authorize(authority: Authority, request: HttpRequest): Promise<HttpAnswer> {
  const parameters = request.method === 'POST' ? new URLSearchParams(request.body) : request.query
  const redirectUri = parameters.get('redirect_uri') ?? ''
  let app: SimulatedApp
  try {
    app = findApp(authority, parameters.get('client_id') ?? undefined)
    if (!isRegisteredRedirectUri(app, redirectUri)) throw new AadstsError(50011, redirectUri, app.clientId)
  } catch (error) {
    return refusalPage(authority, request, error)
  }
  try {
    assertAnswerable(authority, app, parameters)
    const account = whoSignsIn(authority, request, parameters)
    if (account === undefined) return await picker(authority, request, app, parameters)
    const { home, user } = account
    const silent = parameters.get('prompt') === 'none'
    const refused = refusalOf(home, user, app)
    if (refused && (silent || home.refusals.of(user.id)?.shown === 'app')) throw refused
    if (refused) return await refusalPage(authority, request, refused)
    const asked = await consentPage(account, request, app, parameters)
    if (asked) return asked
    if (silent) assertUnchallenged(authority, user)
    authority.challenges.answer(user.id, parameters.get('claims') ?? undefined)
    return await signedIn(account, request, parameters)
  } catch (error) {
    if (!(error instanceof AadstsError)) throw error
    if (error.code === 50020) return await refusalPage(authority, request, error)
    const ids = { trace: crypto.randomUUID(), correlation: crypto.randomUUID() }
    const description = describe(error.message, ids, new Date(authority.now()))
    return redirectBack(parameters, {
      error: authorizationError(error, parameters.get('prompt')),
      error_description: description,
      ...(error.code === 65004 ? { error_subcode: 'cancel' } : {}),
      ...(error.claims === undefined ? {} : { claims: error.claims }),
    })
  }
}

/** Entra tells the person, not the app, that an account is disabled or not assigned. */
function refusalOf(authority: Authority, user: User, app: SimulatedApp): AadstsError | undefined {
  try {
    assertMaySignIn(authority, user, app)
    return undefined
  } catch (error) {
    if (error instanceof AadstsError) return error
    throw error
  }
}

function assertAnswerable(authority: Authority, app: SimulatedApp, parameters: URLSearchParams): void {
  const type = parameters.get('response_type') ?? ''
  if (type === '') throw new AadstsError(900144, 'response_type')
  if (type !== 'code') throw new AadstsError(700054, type)
  const scope = parameters.get('scope') ?? ''
  if (scope === '') throw new AadstsError(900144, 'scope')
  const challenge = parameters.get('code_challenge')
  if (challenge !== null && parameters.get('code_challenge_method') !== 'S256')
    throw new AadstsError(900144, 'code_challenge_method (S256)')
  // Where the path named no tenant, whose consent it takes is known once the person is.
  if (authority.shared || authority.consents.ordered(app.clientId))
    grantScopes(scope, app, authority.graphUrls(), authority.apps)
  else assertConsented(authority, app, parameters, undefined)
}

/** The user, when the request names one; undefined asks a person. `prompt=none` asks nobody. */
function whoSignsIn(
  authority: Authority,
  request: HttpRequest,
  parameters: URLSearchParams,
): Account | undefined {
  const prompt = parameters.get('prompt')
  if (prompt === 'none') {
    const hint = parameters.get('login_hint')
    const account = findAccount(authority, signedInUserId(request) ?? '')
    if (!account || (hint !== null && findAccount(authority, hint)?.user.id !== account.user.id))
      throw new AadstsError(50058)
    return account
  }
  const picked = parameters.get('picked')
  if (picked !== null) return findAccount(authority, picked)
  if (prompt === 'select_account' || parameters.has('search')) return undefined
  const hint = parameters.get('login_hint')
  return hint === null ? undefined : (findAccount(authority, hint) ?? findGuest(authority, hint))
}

async function picker(
  authority: Authority,
  request: HttpRequest,
  app: SimulatedApp,
  parameters: URLSearchParams,
): Promise<HttpAnswer> {
  const search = parameters.get('search') ?? ''
  const hint = parameters.get('login_hint')
  const unknownHint = hint !== null && !findAccount(authority, hint)
  return pickerPage({
    action: request.path,
    fields: carried(parameters),
    appName: app.displayName ?? app.clientId,
    users: matchingUsers(authority, search.toLowerCase()),
    search,
    notice: unknownHint ? `We couldn't find an account with the username ${hint}.` : undefined,
  })
}

function matchingUsers(authority: Authority, search: string): User[] {
  const found: User[] = []
  const tenants = authority.shared ? authority.tenants : [authority]
  for (const user of tenants.flatMap(({ directory }) => directory.users.values())) {
    if (!`${user.displayName}\n${user.userPrincipalName}`.toLowerCase().includes(search)) continue
    found.push(user)
    if (found.length === usersShown) break
  }
  return found
}

async function signedIn(
  { home: authority, user }: Account,
  request: HttpRequest,
  parameters: URLSearchParams,
): Promise<HttpAnswer> {
  const code = `1.${randomBytes(96).toString('base64url')}`
  // The same person in the same browser goes on with their session, also with other apps.
  const sessionId = browserSession(request, user.id) ?? crypto.randomUUID()
  const { tenantId } = authority.directory
  const clientId = parameters.get('client_id') ?? ''
  authority.sessions.signedIn(sessionId, { userId: user.id, tenantId, clientId })
  dropOldCodes(authority)
  authority.tokens.remember(code)
  authority.codes.set(code, {
    tenantId,
    clientId,
    userId: user.id,
    redirectUri: parameters.get('redirect_uri') ?? '',
    scope: parameters.get('scope') ?? '',
    nonce: parameters.get('nonce') ?? undefined,
    challenge: parameters.get('code_challenge') ?? undefined,
    cp1: declaresCp1(parameters.get('claims') ?? undefined),
    sessionId,
    expiresAt: authority.now() + codeLifetime,
    redeemed: false,
  })
  const answer = await redirectBack(parameters, { code, session_state: sessionId })
  return { ...answer, headers: { ...answer.headers, 'set-cookie': sessionCookie(user.id, sessionId) } }
}

/** Codes are in order of age: those long past their life are at the front. */
function dropOldCodes(authority: Authority): void {
  for (const [code, { expiresAt }] of authority.codes) {
    if (expiresAt + codeLifetime > authority.now()) return
    authority.codes.delete(code)
  }
}

function redirectBack(parameters: URLSearchParams, result: Record<string, string>): Promise<HttpAnswer> {
  const redirectUri = parameters.get('redirect_uri') ?? ''
  const state = parameters.get('state')
  const fields = state === null ? result : { ...result, state }
  if (parameters.get('response_mode') === 'form_post') return formPostPage(redirectUri, fields)
  const url = new URL(redirectUri)
  if (parameters.get('response_mode') === 'fragment') url.hash = new URLSearchParams(fields).toString()
  else for (const [name, value] of Object.entries(fields)) url.searchParams.append(name, value)
  return Promise.resolve({
    status: 302,
    headers: { location: url.href, 'cache-control': 'no-store' },
    body: '',
  })
}

/** Consent missing is `invalid_grant` at the token endpoint and `consent_required` here (OpenID Connect Core 3.1.2.6). */
function authorizationError(error: AadstsError, prompt: string | null): string {
  if (error.code === 65001) return 'consent_required'
  // The token endpoint's word, which an authorization endpoint has not; which one Entra says instead isn't documented.
  if (error.error === 'invalid_grant') return prompt === 'none' ? 'interaction_required' : 'access_denied'
  return error.error
}

function refusalPage(authority: Authority, request: HttpRequest, error: unknown): Promise<HttpAnswer> {
  if (!(error instanceof AadstsError)) throw error
  const ids = {
    trace: crypto.randomUUID(),
    correlation: request.headers['client-request-id'] ?? crypto.randomUUID(),
  }
  return errorPage(
    'Sorry, but we’re having trouble signing you in.',
    describe(error.message, ids, new Date(authority.now())),
  )
}
