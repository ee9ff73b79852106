import type { Container, DirectoryObject, ObjectType } from '../directory/objects.ts'
import { findContainer, findMember } from '../directory/store.ts'
import { hasHiddenMembership } from '../directory/tenant.ts'
import { mayReadHidden } from './access.ts'
import type { GraphCall, GraphReply } from './call.ts'
import { answerCollection } from './collection.ts'
import { badRequest } from './errors.ts'

/** The entity set a cast collection has in its context URL. */
const sets: Readonly<Record<ObjectType, string>> = {
  '#microsoft.graph.user': 'users',
  '#microsoft.graph.group': 'groups',
  '#microsoft.graph.directoryRole': 'directoryRoles',
  '#microsoft.graph.administrativeUnit': 'administrativeUnits',
  '#microsoft.graph.device': 'devices',
  '#microsoft.graph.servicePrincipal': 'servicePrincipals',
}

/** What follows a navigation property in a path: an OData cast, `/$count`, or both. */
export type Segments = { cast: ObjectType | undefined; count: boolean }

/** Reads the segments after a navigation property; undefined when they are something else. */
export function readSegments(rest: readonly string[]): Segments | undefined {
  const count = rest.at(-1) === '$count'
  const casts = count ? rest.slice(0, -1) : rest
  if (casts.length === 0) return { cast: undefined, count }
  const cast = Object.keys(sets).find((type) => type.slice(1).toLowerCase() === casts[0]?.toLowerCase())
  if (casts.length > 1 || cast === undefined) return undefined
  return { cast: isObjectType(cast) ? cast : undefined, count }
}

function isObjectType(name: string): name is ObjectType {
  return name in sets
}

/** `memberOf` and `transitiveMemberOf` of one user or group (Graph docs: user-list-memberof, -transitivememberof). */
export function answerMemberOf(
  call: GraphCall,
  memberId: string,
  transitive: boolean,
  segments: Segments,
): GraphReply {
  const { directory } = call.tenant
  const { memberships } = directory
  return answerCollection(
    call,
    {
      ids: transitive ? memberships.transitive(memberId) : memberships.direct(memberId),
      find: (id) => findContainer(directory, id),
      set: segments.cast === undefined ? 'directoryObjects' : sets[segments.cast],
      cast: segments.cast,
      visible: visibleTo(call),
      typed: segments.cast === undefined,
      advancedCast: true,
    },
    segments.count,
  )
}

/** `members` of a group: users, groups, devices and apps, of which an app sees as much as it may read of each type. */
export function answerMembers(
  call: GraphCall,
  groupId: string,
  transitive: boolean,
  segments: Segments,
): GraphReply {
  const { directory } = call.tenant
  const hidden = directory.groups.get(groupId)
  const seesMembers = !hidden || !hasHiddenMembership(hidden) || mayReadHidden(call.access)
  const ids = transitive ? membersBelow(call, groupId) : directory.memberships.membersOf(groupId)
  return answerCollection(
    call,
    {
      ids: seesMembers ? ids : [],
      find: (id) => findMember(directory, id),
      set: segments.cast === undefined ? 'directoryObjects' : sets[segments.cast],
      cast: segments.cast,
      visible: undefined,
      typed: segments.cast === undefined,
      advancedCast: true,
    },
    segments.count,
  )
}

/** Ids of the groups, or of all containers, somebody is in; for the get and check actions. */
export function memberIds(call: GraphCall, memberId: string, only: 'groups' | 'objects'): Container[] {
  const { directory } = call.tenant
  const visible = visibleTo(call)
  return directory.memberships
    .transitive(memberId)
    .flatMap((id) => (only === 'groups' ? directory.groups.get(id) : findContainer(directory, id)) ?? [])
    .filter((container) => !visible || visible(container))
}

function visibleTo(call: GraphCall): ((object: DirectoryObject) => boolean) | undefined {
  if (call.tenant.hiddenMembership === 'shown' || mayReadHidden(call.access)) return undefined
  return (object) => object['@odata.type'] !== '#microsoft.graph.group' || !hasHiddenMembership(object)
}

function membersBelow(call: GraphCall, groupId: string): readonly string[] {
  const { memberships, groups } = call.tenant.directory
  const found = new Set<string>(memberships.membersOf(groupId))
  for (const id of found)
    if (groups.get(id)) for (const member of memberships.membersOf(id)) found.add(member)
  found.delete(groupId)
  return [...found].toSorted()
}

/** Parses the JSON body of an action, refusing as Graph does. */
export function readJson(call: GraphCall): unknown {
  try {
    return JSON.parse(call.body)
  } catch {
    throw badRequest(
      'Unable to read JSON request payload. Please ensure Content-Type header is set and payload is of valid JSON format.',
      'BadRequest',
    )
  }
}
