import type { DirectoryObject, Group, User } from '../directory/objects.ts'
import { findContainer, findUser } from '../directory/store.ts'
import { mayReadProperties, requirePermission, signedInUser, type GraphOperation } from './access.ts'
import type { GraphCall, GraphReply } from './call.ts'
import { answerCollection } from './collection.ts'
import { answerDelta } from './delta.ts'
import { badRequest, notFound } from './errors.ts'
import { answerGetByIds } from './get-by-ids.ts'
import { answerMemberAction, memberActionOf } from './member-actions.ts'
import { answerMemberOf, answerMembers, readSegments } from './member-of.ts'
import { assertSelectable, contextUrl, objectWriter } from './rendering.ts'
import { answerSubscriptions } from './subscriptions.ts'

/** Answers an authorized request by its path segments after the version; what follows a subject is a route below. */
export function route(call: GraphCall, segments: readonly string[]): GraphReply | Promise<GraphReply> {
  const [root = '', ...rest] = segments
  switch (root.toLowerCase()) {
    case 'me':
      return userRoute(call, signedInUser(call.access), rest)
    case 'users':
      if (isDelta(rest)) return get(call, () => answerDelta(call, 'users'))
      return rest[0] === undefined || rest[0] === '$count'
        ? users(call, rest)
        : userRoute(call, rest[0], rest.slice(1))
    case 'groups':
      if (isDelta(rest)) return get(call, () => answerDelta(call, 'groups'))
      return rest[0] === undefined || rest[0] === '$count'
        ? groups(call, rest)
        : groupRoute(call, rest[0], rest.slice(1))
    case 'serviceprincipals':
      return servicePrincipalRoute(call, rest[0] ?? '', rest.slice(1))
    case 'directoryroles':
      return directoryRoles(call, rest)
    case 'directoryobjects':
      return directoryObjectRoute(call, rest[0] ?? '', rest.slice(1))
    case 'subscriptions':
      return answerSubscriptions(call, rest)
    default:
      throw badRequest(`Resource not found for the segment '${root}'.`, 'BadRequest')
  }
}

/** A function's name may come with its namespace and brackets. */
function isDelta(rest: readonly string[]): boolean {
  return rest.length === 1 && /^(microsoft\.graph\.)?delta(\(\))?$/.test(rest[0] ?? '')
}

function userRoute(call: GraphCall, key: string, rest: readonly string[]): GraphReply {
  const user = findUser(call.tenant.directory, key)
  const own = user !== undefined && user.id === call.access.userId
  const permit = (mine: GraphOperation, others: GraphOperation): User => {
    requirePermission(call.access, own ? mine : others)
    return user ?? refuseUnknown(key)
  }
  const [name = '', ...after] = rest
  if (name === '') return get(call, () => entity(call, 'users', permit('me', 'user')))
  const action = memberActionOf(name)
  if (action && after.length === 0)
    return post(call, () => answerMemberAction(call, permit('myMemberIds', 'memberIds').id, action))
  const segments = readSegments(after)
  if (segments && name === 'memberOf')
    return get(call, () => answerMemberOf(call, permit('myMemberOf', 'memberOf').id, false, segments))
  if (segments && name === 'transitiveMemberOf')
    return get(call, () =>
      answerMemberOf(call, permit('myMemberOf', 'transitiveMemberOf').id, true, segments),
    )
  throw unknownSegment(name)
}

function groupRoute(call: GraphCall, id: string, rest: readonly string[]): GraphReply {
  const permit = (): Group => {
    requirePermission(call.access, 'groups')
    return call.tenant.directory.groups.get(id.toLowerCase()) ?? refuseUnknown(id)
  }
  const [name = '', ...after] = rest
  if (name === '') return get(call, () => entity(call, 'groups', permit()))
  const action = memberActionOf(name)
  if (action && after.length === 0) return post(call, () => answerMemberAction(call, permit().id, action))
  const segments = readSegments(after)
  if (!segments) throw unknownSegment(name)
  switch (name) {
    case 'members':
    case 'transitiveMembers':
      return get(call, () => answerMembers(call, permit().id, name === 'transitiveMembers', segments))
    case 'memberOf':
    case 'transitiveMemberOf':
      return get(call, () => answerMemberOf(call, permit().id, name === 'transitiveMemberOf', segments))
    default:
      throw unknownSegment(name)
  }
}

/** Only which groups an app is in, by its object id (Graph docs: serviceprincipal-list-memberof). */
function servicePrincipalRoute(call: GraphCall, id: string, rest: readonly string[]): GraphReply {
  const [name = '', ...after] = rest
  const segments = readSegments(after)
  if (!segments || (name !== 'memberOf' && name !== 'transitiveMemberOf')) throw unknownSegment(name)
  requirePermission(call.access, 'servicePrincipalMemberOf')
  const principal = call.tenant.directory.others.get(id.toLowerCase()) ?? refuseUnknown(id)
  return get(call, () => answerMemberOf(call, principal.id, name === 'transitiveMemberOf', segments))
}

function directoryObjectRoute(call: GraphCall, id: string, rest: readonly string[]): GraphReply {
  const { directory } = call.tenant
  if (/^(microsoft\.graph\.)?getByIds$/.test(id) && rest.length === 0)
    return post(call, () => answerGetByIds(call))
  if (directory.users.get(id)) return userRoute(call, id, rest)
  if (directory.groups.get(id)) return groupRoute(call, id, rest)
  const object = findContainer(directory, id) ?? refuseUnknown(id)
  requirePermission(call.access, 'directoryRoles')
  return get(call, () => entity(call, 'directoryObjects', object))
}

function users(call: GraphCall, rest: readonly string[]): GraphReply {
  requirePermission(call.access, 'users')
  const { users: table } = call.tenant.directory
  return get(call, () => answerTable(call, 'users', table, rest[0] === '$count'))
}

function groups(call: GraphCall, rest: readonly string[]): GraphReply {
  requirePermission(call.access, 'groups')
  const { groups: table } = call.tenant.directory
  return get(call, () => answerTable(call, 'groups', table, rest[0] === '$count'))
}

/** Directory roles never page (Graph docs: paging). */
function directoryRoles(call: GraphCall, rest: readonly string[]): GraphReply {
  requirePermission(call.access, 'directoryRoles')
  if (rest.length > 0) throw unknownSegment(rest[0] ?? '')
  const { roles } = call.tenant.directory
  const write = objectWriter({ select: call.options.select, typed: false })
  const values = roles.values().map((role) => write(role, false))
  const context = JSON.stringify(contextUrl(call.baseUrl, 'directoryRoles', call.options.select))
  return { status: 200, type: 'json', body: `{"@odata.context":${context},"value":[${values.join(',')}]}` }
}

function answerTable(
  call: GraphCall,
  set: string,
  table: { ids(): readonly string[]; get(id: string): DirectoryObject | undefined },
  countSegment: boolean,
): GraphReply {
  const collection = {
    ids: table.ids(),
    find: (id: string) => table.get(id),
    set,
    cast: undefined,
    visible: undefined,
    typed: false,
    advancedCast: false,
  }
  return answerCollection(call, collection, countSegment)
}

function entity(call: GraphCall, set: string, object: DirectoryObject): GraphReply {
  const { select } = call.options
  assertSelectable(object, select)
  const typed = set === 'directoryObjects'
  const text = objectWriter({ select, typed })(object, !mayReadProperties(call.access, object))
  const context = `{"@odata.context":${JSON.stringify(contextUrl(call.baseUrl, set, select, true))}`
  return { status: 200, type: 'json', body: text === '{}' ? `${context}}` : `${context},${text.slice(1)}` }
}

function get(call: GraphCall, answer: () => GraphReply): GraphReply {
  if (call.method === 'GET' || call.method === 'HEAD') return answer()
  throw badRequest('Specified HTTP method is not allowed for the request target.', 'BadRequest')
}

function post(call: GraphCall, answer: () => GraphReply): GraphReply {
  if (call.method === 'POST') return answer()
  throw badRequest('Specified HTTP method is not allowed for the request target.', 'BadRequest')
}

function refuseUnknown(id: string): never {
  throw notFound(id)
}

function unknownSegment(name: string): Error {
  return badRequest(`Resource not found for the segment '${name}'.`, 'BadRequest')
}
