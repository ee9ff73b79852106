import { z } from 'zod'
import { findContainer } from '../directory/store.ts'
import type { GraphCall, GraphReply } from './call.ts'
import { badRequest } from './errors.ts'
import { memberIds, readJson } from './member-of.ts'
import { contextUrl } from './rendering.ts'

/** Above this many ids the get actions refuse (Graph docs: user-getmembergroups). */
const maxIds = 11_000
const maxChecked = 20

const getBody = z.object({ securityEnabledOnly: z.boolean() })
const checkGroupsBody = z.object({ groupIds: z.array(z.string()) })
const checkObjectsBody = z.object({ ids: z.array(z.string()) })

export type MemberAction = 'getMemberGroups' | 'getMemberObjects' | 'checkMemberGroups' | 'checkMemberObjects'

/** Reads an action's name, with or without its namespace. */
export function memberActionOf(segment: string): MemberAction | undefined {
  switch (segment.replace(/^microsoft\.graph\./, '')) {
    case 'getMemberGroups':
      return 'getMemberGroups'
    case 'getMemberObjects':
      return 'getMemberObjects'
    case 'checkMemberGroups':
      return 'checkMemberGroups'
    case 'checkMemberObjects':
      return 'checkMemberObjects'
    default:
      return undefined
  }
}

/** Answers ids only, all of them at once: transitive memberships of one object. */
export function answerMemberAction(call: GraphCall, memberId: string, action: MemberAction): GraphReply {
  const containers = memberIds(call, memberId, action.endsWith('Groups') ? 'groups' : 'objects')
  if (action.startsWith('check'))
    return ids(call, checked(call, action, new Set(containers.map(({ id }) => id))))
  const { securityEnabledOnly } = parseBody(getBody, readJson(call))
  const wanted = securityEnabledOnly
    ? containers.filter((container) => 'securityEnabled' in container && container.securityEnabled)
    : containers
  if (wanted.length > maxIds)
    throw badRequest('The result set is too large to return.', 'Directory_ResultSizeLimitExceeded')
  return ids(
    call,
    wanted.map(({ id }) => id),
  )
}

function checked(call: GraphCall, action: MemberAction, held: ReadonlySet<string>): string[] {
  const body = readJson(call)
  const asked =
    action === 'checkMemberGroups'
      ? parseBody(checkGroupsBody, body).groupIds
      : parseBody(checkObjectsBody, body).ids
  if (asked.length > maxChecked) throw badRequest(`The number of ids must not exceed ${maxChecked}.`)
  return asked.filter(
    (id) => held.has(id.toLowerCase()) && findContainer(call.tenant.directory, id.toLowerCase()),
  )
}

function ids(call: GraphCall, value: readonly string[]): GraphReply {
  const body = { '@odata.context': contextUrl(call.baseUrl, 'Collection(Edm.String)', undefined), value }
  return { status: 200, type: 'json', body: JSON.stringify(body) }
}

/** The parameters of an action, refusing as Graph does. */
export function parseBody<T>(schema: z.ZodType<T>, body: unknown): T {
  const read = schema.safeParse(body)
  if (read.success) return read.data
  const field = read.error.issues[0]?.path.join('.') ?? ''
  throw badRequest(`The value for parameter '${field}' is missing or invalid.`)
}
