import { createHash } from 'node:crypto'
import type { RemoteMembership } from '../snapshot.ts'

const untold = { description: null, mail: null, securityEnabled: null, mailEnabled: null, groupTypes: null }

/** An API in one of the tenants that use it. */
export type TenantsApi = { tenantId: string; apiId: string }

/** Groups that stand for the app roles of an API: of the same role and tenant always the same. */
export function groupsOfRoles(api: TenantsApi, roles: readonly string[]): RemoteMembership[] {
  return [...new Set(roles)].map((role) => ({
    objectId: roleGroupId(api, role),
    displayName: role,
    ...untold,
  }))
}

/** Groups that a map gives to names, such as roles and client ids; what they are called only Graph knows. */
export function mappedGroups(
  map: Readonly<Record<string, readonly string[]>>,
  names: readonly string[],
): RemoteMembership[] {
  const ids = names.flatMap((name) => (Object.hasOwn(map, name) ? (map[name] ?? []) : []))
  return [...new Set(ids)].map((objectId) => ({ objectId, displayName: null, ...untold }))
}

/**
 * A name-based UUID (version 5, RFC 9562) in the name space of the API's client id: no group of Entra has one like it. Each
 * tenant's administrators give the roles out to their own, so one tenant's group must not pass for another's where it is
 * looked up by this id alone.
 */
export function roleGroupId({ tenantId, apiId }: TenantsApi, role: string): string {
  const space = Buffer.from(apiId.replaceAll('-', ''), 'hex')
  const name = `role ${tenantId} ${role}`
  const bytes = createHash('sha1').update(space).update(name).digest().subarray(0, 16)
  bytes[6] = ((bytes[6] ?? 0) & 0x0f) | 0x50
  bytes[8] = ((bytes[8] ?? 0) & 0x3f) | 0x80
  const hex = bytes.toString('hex')
  return [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20), hex.slice(20)].join('-')
}
