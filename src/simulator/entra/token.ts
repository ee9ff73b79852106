import { createHash } from 'node:crypto'
import { decodeJwt } from 'jose'
import type { User } from '../directory/objects.ts'
import type { HttpAnswer, HttpRequest } from '../http.ts'
import { AadstsError, jsonAnswer, tokenErrorAnswer } from './aadsts.ts'
import { findGuest, type Authority } from './authority.ts'
import { declaresCp1, readClaims } from './challenges.ts'
import { appOnlyGraphClaims } from './claims.ts'
import { ownApiClaims } from './own-api-claims.ts'
import { authenticateClient } from './client-authentication.ts'
import {
  assertTenantNamed,
  assertUnchallenged,
  issueDelegated,
  required,
  usableUser,
  type TokenRequest,
} from './issuing.ts'
import { onBehalfOf } from './on-behalf-of.ts'
import type { RefreshClaims } from './tokens.ts'
import { graphResource, resourceOf } from './scopes.ts'

const grants: Readonly<Record<string, (request: TokenRequest) => Promise<object>>> = {
  authorization_code: redeemCode,
  refresh_token: refresh,
  client_credentials: clientCredentials,
  'urn:ietf:params:oauth:grant-type:jwt-bearer': onBehalfOf,
}

/** The token endpoint (Entra docs: v2-oauth2-auth-code-flow, v2-oauth2-client-creds-grant-flow). */
export async function token(authority: Authority, request: HttpRequest): Promise<HttpAnswer> {
  const at = new Date(authority.now())
  const parameters = new URLSearchParams(request.body)
  const ordered = authority.faults.takeTokenError(() => usersOf(authority, parameters))
  if (ordered) {
    const { error, error_codes: codes, suberror, claims, retryAfter } = ordered
    const message = ordered.error_description ?? `AADSTS${codes[0] ?? 0}: ${error}`
    const status = ordered.status ?? (error === 'invalid_client' ? 401 : 400)
    return tokenErrorAnswer(request, at, { error, codes, message, suberror, claims, status, retryAfter })
  }
  try {
    const grantType = parameters.get('grant_type') ?? ''
    if (grantType === '') throw new AadstsError(900144, 'grant_type')
    const grant = grants[grantType]
    if (!grant) throw new AadstsError(70003, grantType)
    const app = await authenticateClient(authority, parameters, request)
    const claims = parameters.get('claims') ?? undefined
    if (claims !== undefined && readClaims(claims) === undefined) throw new AadstsError(9002313)
    return jsonAnswer(200, await grant({ authority, request, app, parameters, cp1: declaresCp1(claims) }))
  } catch (error) {
    if (!(error instanceof AadstsError)) throw error
    const { message, suberror, claims, status, retryAfter } = error
    return tokenErrorAnswer(request, at, {
      error: error.error,
      codes: [error.code],
      message,
      suberror,
      claims,
      status,
      retryAfter,
    })
  }
}

/** Whose code, refresh token or assertion it is, by object id, whatever else is wrong with it. */
function usersOf({ tenants, tokens, codes }: Authority, parameters: URLSearchParams): readonly string[] {
  const refreshToken = tokens.readRefreshToken(parameters.get('refresh_token') ?? '')
  const code = codes.get(parameters.get('code') ?? '')
  const ids = [
    refreshToken.state === 'valid' ? refreshToken.claims.userId : undefined,
    code?.userId,
    assertedUser(parameters.get('assertion')),
  ]
  return ids.flatMap((id) => {
    return tenants.flatMap(({ directory }) => {
      const user = directory.users.get(id ?? '')
      return user ? [user.id, user.userPrincipalName.toLowerCase()] : []
    })
  })
}

function assertedUser(assertion: string | null): string | undefined {
  try {
    const oid = decodeJwt(assertion ?? '')['oid']
    return typeof oid === 'string' ? oid : undefined
  } catch {
    return undefined
  }
}

async function redeemCode(asked: TokenRequest): Promise<object> {
  const { app } = asked
  const code = asked.authority.codes.get(required(asked.parameters, 'code'))
  if (!code || code.clientId !== app.clientId) throw new AadstsError(70000)
  const authority = homeOf(asked.authority, code.tenantId)
  if (!authority) throw new AadstsError(700005)
  if (code.redeemed) throw new AadstsError(54005)
  if (code.expiresAt <= authority.now()) throw new AadstsError(70008)
  const redirectUri = required(asked.parameters, 'redirect_uri')
  if (redirectUri !== code.redirectUri) throw new AadstsError(50011, redirectUri, app.clientId)
  const verifier = asked.parameters.get('code_verifier') ?? ''
  const challenge = verifier === '' ? undefined : createHash('sha256').update(verifier).digest('base64url')
  if (challenge !== code.challenge) throw new AadstsError(501481)
  const user = usableUser(authority, code.userId, app)
  if (authority.challenges.pending(user.id)?.atSignIn === true) assertUnchallenged(authority, user)
  code.redeemed = true
  const scope = asked.parameters.get('scope') ?? code.scope
  const { nonce, sessionId } = code
  const cp1 = asked.cp1 || code.cp1
  return issueDelegated(authority, asked.request.baseUrl, { app, user, scope, nonce, sessionId, cp1 })
}

/** A refresh token is replaced on use and the old one goes on working (Entra docs: refresh-tokens). */
async function refresh(asked: TokenRequest): Promise<object> {
  const { app } = asked
  const read = asked.authority.tokens.readRefreshToken(required(asked.parameters, 'refresh_token'))
  if (read.state === 'unknown') throw new AadstsError(70000)
  if (read.state === 'expired') throw new AadstsError(700082)
  if (read.state === 'revoked') throw new AadstsError(50173)
  if (read.claims.clientId !== app.clientId) throw new AadstsError(70000)
  const { authority, user } = whoRefreshes(asked, read.claims)
  assertUnchallenged(authority, user)
  const scope = asked.parameters.get('scope') ?? read.claims.scope
  // A client that asks for fewer scopes still gets a new refresh token: it had one.
  return issueDelegated(authority, asked.request.baseUrl, {
    app,
    user,
    scope: scope.includes('offline_access') ? scope : `${scope} offline_access`,
    nonce: undefined,
    sessionId: read.claims.sessionId,
    cp1: asked.cp1 || read.claims.cp1,
  })
}

/** The tenant of a grant, unless the path named another one. */
function homeOf(authority: Authority, tenantId: string): Authority | undefined {
  const candidates = authority.shared ? authority.tenants : [authority]
  return candidates.find(({ directory }) => directory.tenantId === tenantId)
}

/** A refresh token isn't bound to a tenant: elsewhere it brings tokens for the guest its user is there. */
function whoRefreshes(
  { authority, app }: TokenRequest,
  { tenantId, userId }: RefreshClaims,
): { authority: Authority; user: User } {
  const first = authority.tenants[0]?.directory.tenantId ?? ''
  const home = homeOf(authority, tenantId ?? first)
  if (home) return { authority: home, user: usableUser(home, userId, app) }
  const guest = findGuest(authority, userId)
  return { authority, user: usableUser(authority, guest?.user.id ?? userId, app) }
}

async function clientCredentials({ authority, request, app, parameters }: TokenRequest): Promise<object> {
  assertTenantNamed(authority)
  if (app.proof === 'none') throw new AadstsError(7000218)
  const resource = resourceOf(required(parameters, 'scope'), authority.graphUrls())
  const lifetime = authority.tokens.lifetime()
  const answer = { token_type: 'Bearer', expires_in: lifetime, ext_expires_in: lifetime }
  if (resource === graphResource) {
    const accessToken = authority.tokens.issueAccessToken(appOnlyGraphClaims(authority, lifetime, app))
    return { ...answer, access_token: accessToken }
  }
  const api = authority.apps.find(
    (each) => resource === each.clientId || resource === `api://${each.clientId}`,
  )
  if (!api) throw new AadstsError(70011, resource)
  const accessToken = await authority.keys.sign(
    ownApiClaims(authority, request.baseUrl, lifetime, { client: app, api }),
  )
  authority.tokens.remember(accessToken)
  return { ...answer, access_token: accessToken }
}
