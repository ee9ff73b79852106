import { createHash } from 'node:crypto'
import type { User } from '../directory/objects.ts'
import type { HttpAnswer, HttpRequest } from '../http.ts'
import { AadstsError, jsonAnswer, tokenErrorAnswer } from './aadsts.ts'
import type { SimulatedApp } from './apps.ts'
import type { Authority } from './authority.ts'
import { appOnlyGraphClaims, delegatedGraphClaims, idTokenClaims, ownApiClaims } from './claims.ts'
import { authenticateClient } from './client-authentication.ts'
import { graphResource, grantScopes, resourceOf } from './scopes.ts'

type TokenRequest = {
  authority: Authority
  request: HttpRequest
  app: SimulatedApp
  parameters: URLSearchParams
}

/** One function a grant type: the on-behalf-of exchange would be another row. */
const grants: Readonly<Record<string, (request: TokenRequest) => Promise<object>>> = {
  authorization_code: redeemCode,
  refresh_token: refresh,
  client_credentials: clientCredentials,
}

/** The token endpoint (Entra docs: v2-oauth2-auth-code-flow, v2-oauth2-client-creds-grant-flow). */
export async function token(authority: Authority, request: HttpRequest): Promise<HttpAnswer> {
  const at = new Date(authority.now())
  const ordered = authority.faults.takeTokenError()
  if (ordered) {
    const { error, error_codes: codes, suberror, claims } = ordered
    const message = ordered.error_description ?? `AADSTS${codes[0] ?? 0}: ${error}`
    const status = ordered.status ?? (error === 'invalid_client' ? 401 : 400)
    return tokenErrorAnswer(request, at, { error, codes, message, suberror, claims, status })
  }
  try {
    const parameters = new URLSearchParams(request.body)
    const grantType = parameters.get('grant_type') ?? ''
    if (grantType === '') throw new AadstsError(900144, 'grant_type')
    const grant = grants[grantType]
    if (!grant) throw new AadstsError(70003, grantType)
    const app = authenticateClient(authority, parameters, request.headers['authorization'])
    return jsonAnswer(200, await grant({ authority, request, app, parameters }))
  } catch (error) {
    if (!(error instanceof AadstsError)) throw error
    const { message, suberror, status } = error
    return tokenErrorAnswer(request, at, {
      error: error.error,
      codes: [error.code],
      message,
      suberror,
      status,
    })
  }
}

async function redeemCode(asked: TokenRequest): Promise<object> {
  const { authority, app } = asked
  const code = authority.codes.get(required(asked.parameters, 'code'))
  if (!code || code.clientId !== app.clientId) throw new AadstsError(70000)
  if (code.redeemed) throw new AadstsError(54005)
  if (code.expiresAt <= authority.now()) throw new AadstsError(70008)
  const redirectUri = required(asked.parameters, 'redirect_uri')
  if (redirectUri !== code.redirectUri) throw new AadstsError(50011, redirectUri, app.clientId)
  const verifier = asked.parameters.get('code_verifier') ?? ''
  const challenge = verifier === '' ? undefined : createHash('sha256').update(verifier).digest('base64url')
  if (challenge !== code.challenge) throw new AadstsError(501481)
  const user = usableUser(authority, code.userId)
  code.redeemed = true
  const scope = asked.parameters.get('scope') ?? code.scope
  const { nonce, sessionId } = code
  return issueDelegated(authority, asked.request.baseUrl, { app, user, scope, nonce, sessionId })
}

/** A refresh token is replaced on use and the old one goes on working (Entra docs: refresh-tokens). */
async function refresh(asked: TokenRequest): Promise<object> {
  const { authority, app } = asked
  const read = authority.tokens.readRefreshToken(required(asked.parameters, 'refresh_token'))
  if (read.state === 'unknown') throw new AadstsError(70000)
  if (read.state === 'expired') throw new AadstsError(700082)
  if (read.state === 'revoked') throw new AadstsError(50173)
  if (read.claims.clientId !== app.clientId) throw new AadstsError(70000)
  const user = usableUser(authority, read.claims.userId)
  const scope = asked.parameters.get('scope') ?? read.claims.scope
  // A client that asks for fewer scopes still gets a new refresh token: it had one.
  return issueDelegated(authority, asked.request.baseUrl, {
    app,
    user,
    scope: scope.includes('offline_access') ? scope : `${scope} offline_access`,
    nonce: undefined,
    sessionId: read.claims.sessionId,
  })
}

async function clientCredentials({ authority, request, app, parameters }: TokenRequest): Promise<object> {
  if (app.clientSecret === undefined) throw new AadstsError(7000218)
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
  grant: { app: SimulatedApp; user: User; scope: string; nonce: string | undefined; sessionId: string },
): Promise<DelegatedTokens> {
  const { app, user, sessionId, scope } = grant
  const { tokens, keys } = authority
  const scopes = grantScopes(scope, app, authority.graphUrls())
  if (scopes.missing.length > 0) throw new AadstsError(65001, app.clientId)
  const lifetime = tokens.lifetime()
  const answer: DelegatedTokens = {
    token_type: 'Bearer',
    scope: scopes.printed.join(' '),
    expires_in: lifetime,
    ext_expires_in: lifetime,
    access_token: tokens.issueAccessToken(delegatedGraphClaims(authority, lifetime, { app, user, scopes })),
  }
  if (scopes.openId.has('offline_access'))
    answer.refresh_token = tokens.issueRefreshToken({
      userId: user.id,
      clientId: app.clientId,
      scope,
      sessionId,
    })
  if (scopes.openId.has('openid')) {
    answer.id_token = await keys.sign(idTokenClaims(authority, baseUrl, { ...grant, scopes }))
    tokens.remember(answer.id_token)
  }
  return answer
}

function usableUser(authority: Authority, userId: string): User {
  const user = authority.directory.users.get(userId)
  if (!user) throw new AadstsError(50034, userId, authority.directory.displayName)
  if (!user.accountEnabled) throw new AadstsError(50057)
  return user
}

function required(parameters: URLSearchParams, name: string): string {
  const value = parameters.get(name)
  if (value === null || value === '') throw new AadstsError(900144, name)
  return value
}
