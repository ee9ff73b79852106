import type { DirectoryObject, ObjectType } from '../directory/objects.ts'
import type { Challenges } from '../entra/challenges.ts'
import type { AccessClaims, Tokens } from '../entra/tokens.ts'
import { accessDenied, badRequest, insufficientClaims, invalidToken } from './errors.ts'

/** What the token of one request allows. */
export type Access = {
  /** The signed-in user; undefined for an app-only token. */
  userId: string | undefined
  appId: string
  permissions: ReadonlySet<string>
}

const readAllDirectory = ['Directory.Read.All', 'Directory.ReadWrite.All']
const readGroups = [
  'GroupMember.Read.All',
  'GroupMember.ReadWrite.All',
  'Group.Read.All',
  'Group.ReadWrite.All',
]
/** Newer, narrower permissions that open the same calls; which properties they show is taken to be all. */
const readBasicGroups = ['GroupMember.ReadBasic.All', 'Group.ReadBasic.All']
const readUsers = ['User.Read.All', 'User.ReadBasic.All']

/** What shows the properties of each type. */
const readers: Readonly<Record<ObjectType, readonly string[]>> = {
  '#microsoft.graph.user': readUsers,
  '#microsoft.graph.group': [...readGroups, ...readBasicGroups],
  '#microsoft.graph.directoryRole': ['RoleManagement.Read.Directory'],
  '#microsoft.graph.administrativeUnit': ['AdministrativeUnit.Read.All'],
  '#microsoft.graph.device': ['Device.Read.All'],
  '#microsoft.graph.servicePrincipal': ['Application.Read.All'],
}

/** What each call accepts besides the directory-wide permissions (Graph docs: the permission table of each call). */
const accepted = {
  me: { delegated: ['User.Read', ...readUsers], application: [] },
  user: { delegated: readUsers, application: readUsers },
  users: { delegated: readUsers, application: readUsers },
  myMemberOf: {
    delegated: ['User.Read', 'User.Read.All', ...readGroups, ...readBasicGroups],
    application: [],
  },
  memberOf: { delegated: ['User.Read.All', ...readGroups, ...readBasicGroups], application: [] },
  transitiveMemberOf: {
    delegated: ['User.Read.All', ...readGroups, ...readBasicGroups],
    application: ['User.Read.All', ...readGroups, ...readBasicGroups],
  },
  servicePrincipalMemberOf: {
    delegated: ['Application.Read.All', 'Application.ReadWrite.All'],
    application: ['Application.Read.All', 'Application.ReadWrite.All'],
  },
  myMemberIds: { delegated: ['User.Read', ...readUsers], application: [] },
  memberIds: {
    delegated: [...readGroups, ...readBasicGroups],
    application: [...readGroups, ...readBasicGroups],
  },
  groups: {
    delegated: [...readGroups, ...readBasicGroups],
    application: [...readGroups, ...readBasicGroups],
  },
  usersDelta: { delegated: ['User.Read.All'], application: ['User.Read.All'] },
  groupsDelta: {
    delegated: [...readGroups, ...readBasicGroups],
    application: [...readGroups, ...readBasicGroups],
  },
  // Members alone are not enough (Graph docs: subscription-post-subscriptions).
  groupSubscription: {
    delegated: ['Group.Read.All', 'Group.ReadWrite.All'],
    application: ['Group.Read.All', 'Group.ReadWrite.All'],
  },
  // Only the directory-wide permissions (Graph docs: directoryobject-getbyids).
  getByIds: { delegated: [], application: [] },
  directoryRoles: {
    delegated: ['RoleManagement.Read.Directory'],
    application: ['RoleManagement.Read.Directory'],
  },
} satisfies Record<string, { delegated: readonly string[]; application: readonly string[] }>

export type GraphOperation = keyof typeof accepted

/** Reads the bearer token, refusing as Graph does when there is none, or none that is still good. */
export function accessOf(
  { tokens, challenges }: { tokens: Tokens; challenges: Challenges },
  authorization: string | undefined,
): Access {
  const bearer = /^bearer +(\S+)$/i.exec(authorization ?? '')?.[1]
  if (bearer === undefined) throw invalidToken('Access token is empty.')
  const read = tokens.readAccessToken(bearer)
  if (read.state === 'expired') throw invalidToken('Lifetime validation failed, the token is expired.')
  if (read.state !== 'valid') throw invalidToken('CompactToken parsing failed with error code: 80049217')
  const challenge = challenges.pending(read.claims.oid)
  // Who did not declare to understand challenges gets none, and the token works on (Entra docs: claims-challenge).
  if (challenge && (challenge.always || read.claims.xms_cc?.includes('cp1') === true))
    throw insufficientClaims(challenge.claims)
  return accessFrom(read.claims)
}

/** The tenant a token is of; undefined for one that is no good. */
export function tokenTenant(tokens: Tokens, authorization: string | undefined): string | undefined {
  const read = tokens.readAccessToken(/^bearer +(\S+)$/i.exec(authorization ?? '')?.[1] ?? '')
  return read.state === 'valid' ? read.claims.tid : undefined
}

function accessFrom(claims: AccessClaims): Access {
  const { appid: appId, scp, roles } = claims
  if (scp !== undefined) return { userId: claims.oid, appId, permissions: new Set(scp.split(' ')) }
  return { userId: undefined, appId, permissions: new Set(roles) }
}

/** The signed-in user, whom an app-only token doesn't have. */
export function signedInUser(access: Access): string {
  if (access.userId !== undefined) return access.userId
  throw badRequest('/me request is only valid with delegated authentication flow.', 'BadRequest')
}

export function requirePermission(access: Access, operation: GraphOperation): void {
  const { delegated, application } = accepted[operation]
  const own = access.userId === undefined ? application : delegated
  if (!hasAny(access, own) && !hasAny(access, readAllDirectory)) throw accessDenied()
}

/**
 * Whether more than id and type of an object is shown. Graph returns objects of types the app may not read, with
 * everything else null (Graph docs: permissions-overview, limited information returned for inaccessible objects).
 */
export function mayReadProperties(access: Access, object: DirectoryObject): boolean {
  if (object.id === access.userId || hasAny(access, readAllDirectory)) return true
  return hasAny(access, readers[object['@odata.type']])
}

export function mayReadHidden(access: Access): boolean {
  return access.permissions.has('Member.Read.Hidden')
}

function hasAny(access: Access, wanted: readonly string[]): boolean {
  return wanted.some((permission) => access.permissions.has(permission))
}
