import { randomBytes } from 'node:crypto'
import { ConfidentialClientApplication, CryptoProvider, type Configuration } from '@azure/msal-node'
import { z } from 'zod'
import type { Settings } from './settings.ts'
import { refreshTokenIn } from './token-cache.ts'

/** What the browser's next visit must prove; kept on the server until then, and used once. */
export type Attempt = { state: string; nonce: string; verifier: string }

export type SignedIn = {
  tenantId: string
  objectId: string
  name: string
  userPrincipalName: string | undefined
  tokens: { accessToken: string; refreshToken: string | undefined; expiresAt: string; scopes: string[] }
}

export type SignIn = {
  begin: () => Promise<{ url: string; attempt: Attempt }>
  /** @throws an `AuthError` of MSAL, or an error for an ID token that is for somebody else. */
  finish: (code: string, attempt: Attempt) => Promise<SignedIn>
}

/** MSAL adds openid, profile and offline_access by itself. */
const scopes = ['User.Read', 'GroupMember.Read.All']

/** Signing in with the authorization code flow and PKCE, as Microsoft's own samples for Express do. */
export function createSignIn(settings: Settings): SignIn {
  const { clientId, clientSecret, authority, appUrl } = settings
  const configuration: Configuration = {
    auth: { clientId, clientSecret, authority, knownAuthorities: [new URL(authority).host] },
  }
  const redirectUri = `${appUrl}/auth/callback`
  const claims = claimsFor(settings)
  return {
    begin: async () => {
      const { verifier, challenge } = await new CryptoProvider().generatePkceCodes()
      const attempt = { state: secret(), nonce: secret(), verifier }
      const { state, nonce } = attempt
      const url = await new ConfidentialClientApplication(configuration).getAuthCodeUrl({
        scopes,
        redirectUri,
        state,
        nonce,
        responseMode: 'query',
        codeChallenge: challenge,
        codeChallengeMethod: 'S256',
      })
      return { url, attempt }
    },
    finish: async (code, { nonce, verifier }) => {
      // A client of its own for each sign-in, so that its token cache is this person's and goes with the request.
      const client = new ConfidentialClientApplication(configuration)
      const result = await client.acquireTokenByCode({
        code,
        scopes,
        redirectUri,
        nonce,
        codeVerifier: verifier,
      })
      const { tid, oid, name, preferred_username: userPrincipalName } = claims.parse(result.idTokenClaims)
      return {
        tenantId: tid,
        objectId: oid,
        name: name ?? userPrincipalName ?? oid,
        userPrincipalName,
        tokens: {
          accessToken: result.accessToken,
          refreshToken: refreshTokenIn(client.getTokenCache().serialize(), result.account?.homeAccountId),
          expiresAt: (result.expiresOn ?? new Date()).toISOString(),
          scopes: result.scopes,
        },
      }
    },
  }
}

/**
 * MSAL checks the nonce and not the signature. That is allowed for an ID token that came straight from Entra's token
 * endpoint over TLS, as it does here (OpenID Connect Core, 3.1.3.7, step 6); one that came through a browser, or from
 * another program, would need its signature checked against the tenant's keys. Whom it is for is ours to check.
 */
function claimsFor({ tenantId, clientId, authority }: Settings) {
  return z.object({
    iss: z.literal(`${authority}/v2.0`),
    aud: z.literal(clientId),
    tid: z.literal(tenantId),
    exp: z.number().refine((seconds) => seconds * 1000 > Date.now() - 60_000, 'is over'),
    oid: z.guid(),
    name: z.string().optional(),
    preferred_username: z.string().optional(),
  })
}

function secret(): string {
  return randomBytes(32).toString('base64url')
}
