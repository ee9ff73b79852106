import type { Consent } from './consents.ts'
import type { AadstsCode } from './error-codes.ts'
import type { AppCredentials } from './app-credentials.ts'
import type { Tenant } from '../directory/tenant.ts'
import { findApp, type Authority } from './authority.ts'
import type { PublishedKey } from './signing-keys.ts'
import type { FrontChannelLogout } from './session.ts'
import { declaresCp1 } from './challenges.ts'
import type { IdTokenFault } from '../id-token-faults.ts'
import { ownApiClaims } from './own-api-claims.ts'
import { issueDelegated, type DelegatedTokens } from './issuing.ts'

export type AppTokenWanted = {
  /** Whose token it is. */
  clientId: string
  /** Whose API it is for. */
  apiId?: string
  /** App roles of the API that it carries; default all that the API has. */
  roles?: readonly string[]
  fault?: IdTokenFault
  /** Where the client asked, which is in the issuer; default over http. */
  authorityHost?: string
}

/** What a test, or an administrator, does with the people and tokens of a tenant. */
export type EntraAdministration = {
  /**
   * Tokens for a user as a finished sign-in over http returns them, without a browser or a request; `scope` defaults to
   * all that was consented for the first app, and `claims` is the parameter of that name.
   */
  signIn(
    idOrUserPrincipalName: string,
    wanted?: { scope?: string; clientId?: string; claims?: string },
  ): Promise<DelegatedTokens>
  /**
   * An app's own token for the API of an app, default the first, as `client_credentials` over http returns it; with a fault,
   * one that is wrong in that way, and undefined where the fault says that there is none.
   */
  appToken(wanted: AppTokenWanted): Promise<string | undefined>
  /** Codes, access, refresh and ID tokens issued since the start or the last reset, oldest first. */
  issuedTokens(): string[]
  /** Makes all refresh tokens the user holds answer 50173; access tokens live on, as without CAE. */
  revokeUserTokens(userId: string): void
  /** Makes access tokens issued so far count as expired: all, or one user's. */
  expireAccessTokens(userId?: string): void
  /**
   * Has Graph and the token endpoint ask this user for a new sign-in, until they signed in with these claims; default is
   * what a revocation asks for. Graph asks only clients that declared capability `cp1`, unless `always`: the others'
   * access tokens work on. With
   * `atSignIn` a code is not redeemed either (50076 with the claims), as when a policy asks for MFA.
   */
  challenge(userId: string, options?: { claims?: string; always?: boolean; atSignIn?: boolean }): void
  /** Whether the user may sign in to apps; who may not is answered 50105. Everybody is assigned at first. */
  assign(userId: string, assigned: boolean): void
  /**
   * Has this user's sign-ins and refreshes end with a code, such as 53003, until told undefined. Entra shows most of them on
   * its `page`, which is the default; `app` returns it to the redirect URI, as `prompt=none` always does.
   */
  refuse(userId: string, code: AadstsCode | undefined, options?: { shown?: 'page' | 'app' }): void
  /**
   * What this tenant consented to for an app: `true`, the default, as it is registered; `false` nothing, so that each
   * person is asked, and cannot give what takes an administrator.
   */
  consent(clientId: string, given: boolean | Consent): void
  /**
   * Which application permissions of Graph this tenant granted an app; app-only tokens issued from now on have them, and
   * none has a `roles` claim where there are none. Undefined is as registered again.
   */
  appRoles(clientId: string, roles: readonly string[] | undefined): void
  /** What sign-out pages loaded to tell apps, oldest first: of all sessions, or of the one with this `sid`. */
  frontChannelLogouts(sessionId?: string): FrontChannelLogout[]
  rotateSigningKeys(): Promise<void>
  /**
   * Publishes one more key for all tenants, with an issuer of its own where one is given. It signs nothing by itself:
   * `faults.idToken` has its `kid` for `signedBy`.
   */
  publishSigningKey(options?: { issuer?: string }): Promise<PublishedKey>
  /** What an app, default the first, proves itself with. */
  credentials(clientId?: string): AppCredentials
}

/** Works on what the endpoints of this authority work on. */
export function administrationOf(
  authority: Authority,
  tenant: Tenant,
  entraUrl: string,
): EntraAdministration {
  const { apps, tokens, challenges, unassigned, keys, now } = authority
  return {
    async signIn(key, { clientId, scope, claims } = {}) {
      const app = findApp(authority, clientId ?? apps[0]?.clientId)
      const user = tenant.user(key)
      challenges.answer(user.id, claims)
      const sessionId = crypto.randomUUID()
      const session = { userId: user.id, tenantId: tenant.id, clientId: app.clientId }
      authority.sessions.signedIn(sessionId, session)
      return await issueDelegated(authority, entraUrl, {
        app,
        user,
        scope: scope ?? (authority.consents.ordered(app.clientId)?.scopes ?? app.delegatedScopes).join(' '),
        nonce: undefined,
        sessionId,
        cp1: declaresCp1(claims),
      })
    },
    async appToken({ clientId, apiId, roles, fault, authorityHost = entraUrl }) {
      const client = findApp(authority, clientId)
      const api = findApp(authority, apiId ?? apps[0]?.clientId)
      const claims = ownApiClaims(authority, authorityHost, tokens.lifetime(), { client, api, roles })
      const token = fault ? await keys.spoil(claims, fault) : await keys.sign(claims)
      if (token !== undefined) tokens.remember(token)
      return token
    },
    issuedTokens: () => tokens.issued(),
    revokeUserTokens: (userId) => tokens.revoke(tenant.user(userId).id),
    expireAccessTokens: (userId) => tokens.expireAccessTokens(userId),
    challenge: (userId, { claims = revokedClaims(now), always = false, atSignIn = false } = {}) =>
      challenges.order(tenant.user(userId).id, { claims, always, atSignIn }),
    assign(userId, assigned) {
      if (assigned) unassigned.delete(tenant.user(userId).id)
      else unassigned.add(tenant.user(userId).id)
    },
    refuse: (userId, code, { shown = 'page' } = {}) =>
      authority.refusals.order(tenant.user(userId).id, code === undefined ? undefined : { code, shown }),
    consent(clientId, given) {
      const consent = typeof given === 'boolean' ? (given ? undefined : { scopes: [] }) : given
      authority.consents.order(findApp(authority, clientId).clientId, consent)
    },
    appRoles: (clientId, roles) =>
      authority.consents.grantRoles(findApp(authority, clientId).clientId, roles),
    frontChannelLogouts: (sessionId) => authority.sessions.logouts(sessionId),
    rotateSigningKeys: () => keys.rotate(),
    publishSigningKey: ({ issuer } = {}) => keys.publish(issuer),
    credentials: (clientId) =>
      authority.credentialsOf(findApp(authority, clientId ?? apps[0]?.clientId).clientId),
  }
}

/** A token no older than now. */
function revokedClaims(now: () => number): string {
  const value = String(Math.floor(now() / 1000))
  return JSON.stringify({ access_token: { nbf: { essential: true, value } } })
}
