import * as client from 'openid-client'
import { z } from 'zod'
import type { SourceConfig } from '../config.ts'
import { SyncError } from '../errors.ts'
import { claimsParameter } from './claims.ts'
import type { PendingSignIn } from './oauth-state.ts'
import { fetchFromEntra } from './entra-fetch.ts'
import { renewTokens, requestFailure } from './renew.ts'
import type { RenewedTokenSet } from './tokens.ts'

/** `GroupMember.Read.All` is the least permission that reads groups with their names. */
export const signInScopes = 'openid profile email offline_access User.Read GroupMember.Read.All'

const guid = z.guid().transform((text) => text.toLowerCase())
const label = z
  .string()
  .transform((text) => text.slice(0, 256))
  .optional()
  .catch(undefined)

/** Claims of a v2 ID token; `oid` with `tid` is the identity, the rest are labels (id-token-claims-reference). */
const idTokenClaims = z.object({
  tid: guid,
  oid: guid,
  name: label,
  preferred_username: label,
  email: label,
})

export type EntraSignIn = {
  tenantId: string
  objectId: string
  displayName: string | undefined
  userPrincipalName: string | undefined
  mail: string | undefined
  tokens: { accessToken: string; expiresAt: string; refreshToken: string | undefined; scopes: string[] }
}

export type EntraClient = {
  /** Where to send the browser. Contacts Entra on first use only. */
  authorizationUrl: (
    pending: Omit<PendingSignIn, 'returnTo'>,
    redirectUri: string,
    loginHint: string | undefined,
  ) => Promise<URL>
  /** Redeems the code of a callback and proves who signed in. `answered` is the URL the browser came back to. */
  redeem: (answered: URL, pending: PendingSignIn) => Promise<EntraSignIn>
  /** Redeems a refresh token; see {@link renewTokens}. */
  renew: (refreshToken: string, claims?: string) => Promise<RenewedTokenSet>
}

/**
 * One app registration of one tenant. What makes an ID token good: signed RS256 by a key the tenant publishes, `iss`,
 * `aud`, `exp` and `nonce` (openid-client), and `tid` is the configured tenant.
 */
export function createEntraClient(source: SourceConfig): EntraClient {
  const configuration = discoverOnce(source)
  return {
    authorizationUrl: async (pending, redirectUri, loginHint) =>
      client.buildAuthorizationUrl(await configuration(), {
        redirect_uri: redirectUri,
        scope: signInScopes,
        state: pending.state,
        nonce: pending.nonce,
        code_challenge: await client.calculatePKCECodeChallenge(pending.codeVerifier),
        code_challenge_method: 'S256',
        claims: claimsParameter(pending.claims),
        ...(loginHint === undefined ? {} : { login_hint: loginHint }),
      }),
    redeem: async (answered, pending) => {
      const checks = {
        expectedState: pending.state,
        expectedNonce: pending.nonce,
        pkceCodeVerifier: pending.codeVerifier,
        idTokenExpected: true,
      }
      const tokens = await client.authorizationCodeGrant(await configuration(), answered, checks, {
        claims: claimsParameter(pending.claims),
      })
      const claims = idTokenClaims.safeParse(tokens.claims())
      if (!claims.success)
        throw new SyncError('token_rejected', 'the ID token names no user: oid or tid is missing')
      const { tid, oid, name, preferred_username: userPrincipalName, email } = claims.data
      if (tid !== source.tenantId) throw new SyncError('token_rejected', 'the ID token is of another tenant')
      return {
        tenantId: tid,
        objectId: oid,
        displayName: name,
        userPrincipalName,
        mail: email,
        tokens: {
          accessToken: tokens.access_token,
          // Entra always answers expires_in; without it the token is taken for spent and refreshed at first use.
          expiresAt: new Date(Date.now() + (tokens.expiresIn() ?? 0) * 1000).toISOString(),
          refreshToken: tokens.refresh_token,
          // RFC 6749 section 5.1: no scope in the answer means all that was asked for.
          scopes: (tokens.scope ?? signInScopes).split(' ').filter(Boolean),
        },
      }
    },
    renew: async (refreshToken, claims) =>
      await renewTokens(await configuration().catch(unreadable), refreshToken, claims),
  }
}

async function unreadable(error: unknown): Promise<never> {
  throw await requestFailure(error, "Entra's endpoints can't be read")
}

/** The tenant's endpoints, read at the first sign-in and kept; a failure is not kept, so that the next one tries again. */
function discoverOnce(source: SourceConfig): () => Promise<client.Configuration> {
  let known: Promise<client.Configuration> | undefined
  return async () => {
    known ??= discover(source)
    try {
      return await known
    } catch (error) {
      known = undefined
      throw error
    }
  }
}

async function discover(source: SourceConfig): Promise<client.Configuration> {
  const issuer = new URL(`${source.authorityHost}/${source.tenantId}/v2.0`)
  const metadata = {
    client_secret: source.clientSecret,
    id_token_signed_response_alg: 'RS256',
    [client.clockTolerance]: 60,
  }
  const configuration = await client.discovery(issuer, source.clientId, metadata, undefined, {
    timeout: 10,
    [client.customFetch]: fetchFromEntra,
    // openid-client trusts TLS for an ID token from the token endpoint; we want the signature checked all the same.
    execute: [
      client.enableNonRepudiationChecks,
      ...(issuer.protocol === 'http:' ? [client.allowInsecureRequests] : []),
    ],
  })
  const server = configuration.serverMetadata()
  for (const endpoint of [server.authorization_endpoint, server.token_endpoint, server.jwks_uri]) {
    if (endpoint === undefined || new URL(endpoint).origin !== issuer.origin) {
      throw new SyncError('unexpected_response', `Entra's endpoints are not all at ${issuer.origin}`)
    }
  }
  return configuration
}
