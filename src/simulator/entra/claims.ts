import { createHash } from 'node:crypto'
import type { JWTPayload } from 'jose'
import type { User } from '../directory/objects.ts'
import { servicePrincipalId } from '../directory/service-principal-id.ts'
import { proofClaim, type KnownApp, type SimulatedApp } from './apps.ts'
import { firstVersionIssuer, issuerOf, type Authority } from './authority.ts'
import { graphResource, type GrantedScopes } from './scopes.ts'

/** The tenant that guests are at home in whose own isn't simulated. */
const guestHomeTenant = '3b1a9c52-0c5e-4b7c-9d38-6f0e2a4d8c71'

/** The claims of a v2 ID token (Entra docs: id-token-claims-reference). */
export function idTokenClaims(
  authority: Authority,
  baseUrl: string,
  signIn: {
    app: SimulatedApp
    user: User
    scopes: GrantedScopes
    nonce: string | undefined
    sessionId: string
  },
): JWTPayload {
  const { app, user, scopes } = signIn
  const now = seconds(authority)
  return {
    aud: app.clientId,
    iss: issuerOf(authority, baseUrl),
    iat: now,
    nbf: now,
    exp: now + 3600,
    ...(scopes.openId.has('email') && user.mail !== null ? { email: user.mail } : {}),
    ...(scopes.openId.has('profile')
      ? { name: user.displayName, preferred_username: user.userPrincipalName }
      : {}),
    // A guest was authenticated by another tenant than the one that issues the token.
    ...(user.userType === 'Guest' ? { idp: `https://sts.windows.net/${homeOf(authority, user)}/` } : {}),
    ...(signIn.nonce === undefined ? {} : { nonce: signIn.nonce }),
    // Entra leaves `oid` out without the scope profile, like name and preferred_username.
    ...(scopes.openId.has('profile') ? { oid: user.id } : {}),
    rh: `0.${hash('rh', user.id)}.`,
    sid: signIn.sessionId,
    sub: pairwiseSubject(authority, app.clientId, user.id),
    tid: authority.directory.tenantId,
    uti: hash('uti', crypto.randomUUID()).slice(0, 22),
    ver: '2.0',
  }
}

/** The claims of Graph's v1-format access token for a user; `scp` holds short scope names. */
export function delegatedGraphClaims(
  authority: Authority,
  lifetime: number,
  grant: { app: KnownApp; user: User; scopes: GrantedScopes; cp1: boolean },
): { oid: string; exp: number } & Record<string, unknown> {
  const { app, user, scopes } = grant
  const openId = [...scopes.openId].filter((scope) => scope !== 'offline_access')
  return {
    ...graphClaims(authority, lifetime, app),
    acct: user.userType === 'Guest' ? 1 : 0,
    acr: '1',
    amr: ['pwd'],
    family_name: user.surname,
    given_name: user.givenName,
    idtyp: 'user',
    name: user.displayName,
    oid: user.id,
    platf: '14',
    puid: hash('puid', user.id).slice(0, 16).toUpperCase(),
    scp: [...scopes.graph, ...openId].toSorted().join(' '),
    sub: pairwiseSubject(authority, graphResource, user.id),
    unique_name: user.userPrincipalName,
    upn: user.userPrincipalName,
    ...(grant.cp1 ? { xms_cc: ['cp1'] } : {}),
  }
}

/** The claims of Graph's access token for the app itself: `roles`, and no `scp`. */
export function appOnlyGraphClaims(
  authority: Authority,
  lifetime: number,
  app: KnownApp,
): { oid: string; exp: number } & Record<string, unknown> {
  const oid = servicePrincipalId(authority.directory.tenantId, app.clientId)
  const roles = authority.consents.grantedRoles(app)
  return {
    ...graphClaims(authority, lifetime, app),
    idtyp: 'app',
    oid,
    sub: oid,
    ...(roles.length > 0 ? { roles: [...roles] } : {}),
  }
}

function graphClaims(
  authority: Authority,
  lifetime: number,
  app: KnownApp,
): { exp: number } & Record<string, unknown> {
  const now = seconds(authority)
  const { tenantId } = authority.directory
  return {
    aud: graphResource,
    iss: firstVersionIssuer(authority),
    iat: now,
    nbf: now,
    exp: now + lifetime,
    app_displayname: app.displayName ?? app.clientId,
    appid: app.clientId,
    appidacr: proofClaim(app),
    tenant_region_scope: 'EU',
    tid: tenantId,
    uti: hash('uti', crypto.randomUUID()).slice(0, 22),
    ver: '1.0',
  }
}

function homeOf({ tenants }: Authority, guest: User): string {
  const [name = ''] = guest.userPrincipalName.toLowerCase().split('#ext#@')
  return (
    tenants.find(({ directory }) => name.endsWith(`_${directory.domain}`))?.directory.tenantId ??
    guestHomeTenant
  )
}

/** A user's `sub` differs from app to app, so that apps cannot match their users by it. */
function pairwiseSubject(authority: Authority, clientId: string, userId: string): string {
  return hash(authority.directory.tenantId, clientId, userId)
}

function hash(...parts: readonly string[]): string {
  return createHash('sha256').update(parts.join(' ')).digest('base64url')
}

function seconds(authority: Authority): number {
  return Math.floor(authority.now() / 1000)
}
