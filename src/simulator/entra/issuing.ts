import type { JWTPayload } from 'jose'
import type { User } from '../directory/objects.ts'
import type { HttpRequest } from '../http.ts'
import { AadstsError } from './aadsts.ts'
import type { KnownApp, SimulatedApp } from './apps.ts'
import type { Authority } from './authority.ts'
import { consentedScopes } from './consents.ts'
import { delegatedGraphClaims, idTokenClaims } from './claims.ts'
import { ownApiUserClaims } from './own-api-claims.ts'
import { graphResource } from './scopes.ts'

/** A request to the token endpoint by a client that proved who it is. */
export type TokenRequest = {
  authority: Authority
  request: HttpRequest
  app: KnownApp
  parameters: URLSearchParams
  /** Whether its `claims` parameter says that it understands challenges. */
  cp1: boolean
}

/** A successful answer for a user; which tokens it has follows the scope. */
export type DelegatedTokens = {
  token_type: 'Bearer'
  scope: string
  expires_in: number
  ext_expires_in: number
  access_token: string
  refresh_token?: string
  id_token?: string
}

/** Issues what a user's grant is worth; a refresh token only with offline_access, an ID token only with openid. */
export async function issueDelegated(
  authority: Authority,
  baseUrl: string,
  grant: {
    app: KnownApp
    user: User
    scope: string
    nonce: string | undefined
    sessionId: string
    cp1: boolean
  },
): Promise<DelegatedTokens> {
  const { app, user, sessionId, scope, cp1 } = grant
  const { tokens, keys } = authority
  const { scopes, needs } = consentedScopes(authority, app, user, scope)
  if (needs !== 'nothing') throw new AadstsError(65001, app.clientId)
  const lifetime = tokens.lifetime()
  const { api } = scopes
  const ownApi = async (wanted: NonNullable<typeof api>): Promise<string> =>
    keys.sign(ownApiUserClaims(authority, baseUrl, lifetime, { client: app, user, api: wanted }))
  const accessToken = api
    ? await ownApi(api)
    : tokens.issueAccessToken(delegatedGraphClaims(authority, lifetime, { app, user, scopes, cp1 }))
  if (api) tokens.remember(accessToken)
  const answer: DelegatedTokens = {
    token_type: 'Bearer',
    scope: scopes.printed.join(' '),
    expires_in: lifetime,
    ext_expires_in: lifetime,
    access_token: accessToken,
  }
  if (scopes.openId.has('offline_access'))
    answer.refresh_token = tokens.issueRefreshToken({
      tenantId: authority.directory.tenantId,
      userId: user.id,
      clientId: app.clientId,
      scope,
      sessionId,
      cp1,
    })
  if (scopes.openId.has('openid')) {
    const idToken = await signIdToken(
      authority,
      user,
      idTokenClaims(authority, baseUrl, { ...grant, scopes }),
    )
    if (idToken !== undefined) {
      answer.id_token = idToken
      tokens.remember(idToken)
    }
  }
  return answer
}

async function signIdToken(
  { faults, keys }: Authority,
  user: User,
  claims: JWTPayload,
): Promise<string | undefined> {
  const fault = faults.takeIdToken([user.id, user.userPrincipalName.toLowerCase()])
  return fault ? await keys.spoil(claims, fault) : await keys.sign(claims)
}

/** The user, unless Entra would refuse them tokens for this app. */
export function usableUser(authority: Authority, userId: string, app: SimulatedApp): User {
  const user = authority.directory.users.get(userId)
  if (!user) throw new AadstsError(50034, userId, authority.directory.displayName)
  assertMaySignIn(authority, user, app)
  return user
}

/** Refuses the disabled, those not assigned to the app, and whom an administrator's order is about. */
export function assertMaySignIn(authority: Authority, user: User, app: SimulatedApp): void {
  if (!user.accountEnabled) throw new AadstsError(50057)
  if (authority.unassigned.has(user.id)) throw new AadstsError(50105, user.userPrincipalName, app.clientId)
  const ordered = authority.refusals.of(user.id)
  if (ordered) throw new AadstsError(ordered.code, user.userPrincipalName, app.clientId)
}

/** Refuses, with the claims to sign in with, what needs no person while one is asked for. */
export function assertUnchallenged(authority: Authority, user: User): void {
  const challenge = authority.challenges.pending(user.id)
  if (!challenge) return
  const refusal = new AadstsError(50076, graphResource)
  refusal.claims = challenge.claims
  throw refusal
}

/** Refuses what only a tenant can answer where the path named none (Entra docs: reference-error-codes). */
export function assertTenantNamed({ shared }: Authority): void {
  if (shared) throw new AadstsError(shared === 'common' ? 9001023 : 50059)
}

export function required(parameters: URLSearchParams, name: string): string {
  const value = parameters.get(name)
  if (value === null || value === '') throw new AadstsError(900144, name)
  return value
}
