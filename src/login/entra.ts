import * as client from 'openid-client'
import { z } from 'zod'
import { SyncError } from '../errors.ts'
import { openIdScopes, takesTenant, tenantSegment, type SourceConfig } from '../source-config.ts'
import { claimsParameter } from './claims.ts'
import type { AppCredentials } from './credentials.ts'
import { createEndpoints, type EntraEndpoints } from './entra-endpoints.ts'
import { fetchFromEntra } from './entra-fetch.ts'
import { verifyIdToken } from './id-token.ts'
import type { OnStale } from './key-set.ts'
import type { PendingSignIn } from './oauth-state.ts'
import { renewTokens } from './renew.ts'
import { createTokenAuthorities, type TokenAuthorities } from './token-authority.ts'
import type { RenewedTokenSet } from './tokens.ts'

export type EntraSignIn = {
  tenantId: string
  objectId: string
  displayName: string | undefined
  userPrincipalName: string | undefined
  mail: string | undefined
  /** The session at Entra, which names it when the person signs out there. */
  entraSession: string | undefined
  /** What Entra wants to be told at sign-out, so that it doesn't ask which account. */
  logoutHint: string | undefined
  tokens: { accessToken: string; expiresAt: string; refreshToken: string | undefined; scopes: string[] }
}

export type EntraClient = {
  /** Where to send the browser. Contacts Entra on first use only. */
  authorizationUrl: (pending: Omit<PendingSignIn, 'returnTo'>, redirectUri: string) => Promise<URL>
  /** Redeems the code of a callback and proves who signed in. `answered` is the URL the browser came back to. */
  redeem: (answered: URL, pending: PendingSignIn) => Promise<EntraSignIn>
  /** Redeems a refresh token in the person's tenant; see {@link renewTokens}. */
  renew: (tenantId: string, refreshToken: string, claims?: string) => Promise<RenewedTokenSet>
  /** Where to send the browser to sign out at Entra as well; undefined where Entra has no such place. */
  signOutUrl: (returnTo: string, logoutHint: string | undefined) => Promise<URL | undefined>
  authorityOf: TokenAuthorities['authorityOf']
}

/** One app registration, for one tenant or several. `onStaleKeys`: see {@link createKeySet}. */
export function createEntraClient(
  source: SourceConfig,
  credentials: AppCredentials,
  onStaleKeys?: OnStale,
): EntraClient {
  const endpointsOf = createEndpoints(source.authorityHost, source.clientId)
  const signInEndpoints = async () => await endpointsOf(tenantSegment(source))
  const scope = [...openIdScopes, ...source.scopes].join(' ')
  const { keySetOf, authorityOf } = createTokenAuthorities(source, endpointsOf, onStaleKeys)
  return {
    authorizationUrl: async (pending, redirectUri) => {
      const { configure } = await signInEndpoints()
      return client.buildAuthorizationUrl(configure(client.None()), {
        redirect_uri: redirectUri,
        scope,
        state: pending.state,
        nonce: pending.nonce,
        code_challenge: await client.calculatePKCECodeChallenge(pending.codeVerifier),
        code_challenge_method: 'S256',
        claims: claimsParameter(pending.claims),
        ...(pending.loginHint === undefined ? {} : { login_hint: pending.loginHint }),
        ...(pending.otherAccount ? { prompt: 'select_account' } : {}),
      })
    },
    redeem: async (answered, pending) => {
      const endpoints = await signInEndpoints()
      const { tokens, idToken } = await credentials.withCredential(
        async () => await redeemCode(endpoints, credentials.clientAuth, answered, pending),
      )
      if (idToken === undefined) throw new SyncError('unexpected_response', 'Entra answered no ID token')
      const rules = {
        clientId: source.clientId,
        issuer: endpoints.issuer,
        takesTenant: (tenantId: string) => takesTenant(source, tenantId),
        nonce: pending.nonce,
      }
      const claims = await verifyIdToken(idToken, rules, keySetOf(endpoints))
      return {
        tenantId: claims.tid,
        objectId: claims.oid,
        displayName: claims.name,
        userPrincipalName: claims.preferred_username,
        mail: claims.email,
        entraSession: claims.sid,
        logoutHint: claims.login_hint,
        tokens: {
          accessToken: tokens.access_token,
          // Entra always answers expires_in; without it the token is taken for spent and refreshed at first use.
          expiresAt: new Date(Date.now() + (tokens.expiresIn() ?? 0) * 1000).toISOString(),
          refreshToken: tokens.refresh_token,
          // RFC 6749 section 5.1: no scope in the answer means all that was asked for.
          scopes: (tokens.scope ?? scope).split(' ').filter(Boolean),
        },
      }
    },
    renew: async (tenantId, refreshToken, claims) => {
      const { configure } = await endpointsOf(tenantId)
      return await credentials.withCredential(
        async () => await renewTokens(configure(credentials.clientAuth), refreshToken, claims),
      )
    },
    authorityOf,
    signOutUrl: async (returnTo, logoutHint) => {
      const { endSession } = await signInEndpoints()
      if (!endSession) return undefined
      // A copy: the endpoints are kept, and one person's hint is nobody else's.
      const url = new URL(endSession)
      url.searchParams.set('post_logout_redirect_uri', returnTo)
      if (logoutHint !== undefined) url.searchParams.set('logout_hint', logoutHint)
      return url
    },
  }
}

/**
 * The code for tokens. The ID token is taken out of the answer before openid-client reads it, and is judged by
 * {@link verifyIdToken}: openid-client knows the rule for several tenants at login.microsoftonline.com only, and neither
 * asks whose tokens a key signs nor reads keys anew when it has to.
 */
async function redeemCode(
  { configure }: EntraEndpoints,
  credential: client.ClientAuth,
  answered: URL,
  pending: PendingSignIn,
) {
  let idToken: string | undefined
  const configuration = configure(credential, async (url, options) => {
    const response = await fetchFromEntra(url, options)
    const read = await withoutIdToken(response)
    idToken = read.idToken
    return read.response
  })
  const tokens = await client.authorizationCodeGrant(
    configuration,
    answered,
    { expectedState: pending.state, pkceCodeVerifier: pending.codeVerifier },
    { claims: claimsParameter(pending.claims) },
  )
  return { tokens, idToken }
}

const tokenAnswer = z.looseObject({ id_token: z.string().optional().catch(undefined) })

/** Whatever isn't tokens as JSON is openid-client's to refuse. */
async function withoutIdToken(response: Response): Promise<{ response: Response; idToken?: string }> {
  if (!response.ok) return { response }
  const text = await response.clone().text()
  const parsed = tokenAnswer.safeParse(jsonOf(text))
  if (!parsed.success || parsed.data.id_token === undefined) return { response }
  const { id_token: idToken, ...rest } = parsed.data
  const { status, headers } = response
  return { response: new Response(JSON.stringify(rest), { status, headers }), idToken }
}

function jsonOf(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}
