import { createHash } from 'node:crypto'
import type { JWTPayload } from 'jose'
import type { User } from '../directory/objects.ts'
import { servicePrincipalId } from '../directory/service-principal-id.ts'
import { proofClaim, type KnownApp, type SimulatedApp } from './apps.ts'
import { firstVersionIssuer, issuerOf, type Authority } from './authority.ts'

type Grant = {
  client: KnownApp
  api: SimulatedApp
  /** App roles of the API that the token carries; default the API's `ownRoles`. */
  roles?: readonly string[] | undefined
}

/**
 * An access token for an app's own API, as an app-only client gets it, in the format that the API's registration asks for
 * (Entra docs: access-token-claims-reference).
 */
export function ownApiClaims(
  authority: Authority,
  baseUrl: string,
  lifetime: number,
  { client, api, roles = api.ownRoles ?? [] }: Grant,
): JWTPayload {
  const oid = servicePrincipalId(authority.directory.tenantId, client.clientId)
  const idtyp = api.idTypeClaim ? { idtyp: 'app' } : {}
  return {
    ...shared(authority, baseUrl, lifetime, { client, api }),
    ...idtyp,
    oid,
    sub: oid,
    ...(roles.length > 0 ? { roles: [...roles] } : {}),
  }
}

/** The same as its users' clients get it. */
export function ownApiUserClaims(
  authority: Authority,
  baseUrl: string,
  lifetime: number,
  grant: { client: KnownApp; user: User; api: { app: SimulatedApp; scopes: readonly string[] } },
): JWTPayload {
  const { client, user, api } = grant
  return {
    ...shared(authority, baseUrl, lifetime, { client, api: api.app }),
    name: user.displayName,
    oid: user.id,
    preferred_username: user.userPrincipalName,
    scp: api.scopes.join(' '),
    sub: hash(authority.directory.tenantId, api.app.clientId, user.id),
  }
}

function shared(authority: Authority, baseUrl: string, lifetime: number, { client, api }: Grant): JWTPayload {
  const now = Math.floor(authority.now() / 1000)
  const times = { iat: now, nbf: now, exp: now + lifetime }
  const tid = authority.directory.tenantId
  const uti = hash('uti', crypto.randomUUID()).slice(0, 22)
  if (api.accessTokenVersion === 1) {
    return {
      aud: `api://${api.clientId}`,
      iss: firstVersionIssuer(authority),
      ...times,
      appid: client.clientId,
      appidacr: proofClaim(client),
      tid,
      uti,
      ver: '1.0',
    }
  }
  return {
    aud: api.clientId,
    iss: issuerOf(authority, baseUrl),
    ...times,
    azp: client.clientId,
    azpacr: proofClaim(client),
    tid,
    uti,
    ver: '2.0',
  }
}

function hash(...parts: readonly string[]): string {
  return createHash('sha256').update(parts.join(' ')).digest('base64url')
}
