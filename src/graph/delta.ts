import { z } from 'zod'
import { GraphUnavailable, SyncError } from '../errors.ts'
import { isStorableText, storableText } from '../storable-text.ts'
import { LinkExpired, Refused, unexpected, type Answer } from './answer.ts'
import type { GraphClient } from './client.ts'
import { advanced, nextPath } from './group-pages.ts'
import { groupProperties, objectId } from './wire.ts'

export type DeltaResource = 'groups' | 'users'

/** What one entry of a delta query says. It is a hint: what is so is read anew, and not taken from here. */
export type DeltaEntry = {
  /** Object id of the group or the user. */
  objectId: string
  /** Deleted, for good or not. */
  removed: boolean
  /** Of a group: who joined or left it directly. Groups within it are told apart, devices and apps left out. */
  users: readonly string[]
  groups: readonly string[]
  /** Those of `groups` that left, as far as Graph tells that they are groups. */
  left: readonly string[]
  /** Labels of a group as far as they are told; undefined where none is. */
  labels: DeltaLabels | undefined
}

export type DeltaLabels = { displayName: string | null; description: string | null; mail: string | null }

const select: Record<DeltaResource, string> = {
  groups: [...groupProperties, 'members'].join(','),
  users: 'id,displayName,userPrincipalName,mail,otherMails,accountEnabled',
}

const label = z.string().transform(storableText).nullish().catch(null)

const member = z.looseObject({ id: objectId, '@odata.type': z.string().optional().catch(undefined) })

const entry = z.looseObject({
  id: objectId,
  '@removed': z.looseObject({}).optional(),
  displayName: label,
  description: label,
  mail: label,
  'members@delta': z.array(member).optional(),
})

const deltaPage = z
  .looseObject({
    value: z.array(entry),
    '@odata.nextLink': z.string().optional(),
    '@odata.deltaLink': z.string().refine(isStorableText).optional(),
  })
  .refine((page) => (page['@odata.nextLink'] === undefined) !== (page['@odata.deltaLink'] === undefined))

/** Pages of one round. A tenant that changes faster than it is read never ends one. */
const maxPages = 20_000

/** Where what changes from now on is asked for, with nothing of what there is (Graph docs: delta-query-overview). */
export async function readBaseline(client: GraphClient, resource: DeltaResource): Promise<string> {
  const path = `/${resource}/delta?$select=${select[resource]}&$deltatoken=latest`
  const { link } = await readRound(client, await client.request({ path }), async () => undefined)
  return link
}

/**
 * What has changed since the link was given, page by page, and the link for the next round. Entries come in no order, may
 * be repeated, replayed and split over pages, and pages may be empty (Graph docs: delta-query-overview).
 * @throws {LinkExpired} where a new baseline is needed, also for a link of another Graph or one that is refused, say since it
 * is another tenant's · {SyncError} see {@link GraphClient.request}.
 */
export async function readChanges(
  client: GraphClient,
  link: string,
  onPage: (entries: readonly DeltaEntry[]) => Promise<void>,
): Promise<{ link: string; entries: number }> {
  const answer = await orExpired(async () => await client.request({ path: nextPath(client.baseUrl, link) }))
  return await readRound(client, answer, onPage)
}

/** What is refused of a link that was stored is the link's fault: it is another tenant's, say, or another Graph's. */
async function orExpired(ask: () => Promise<Answer>): Promise<Answer> {
  try {
    return await ask()
  } catch (error) {
    if (!(error instanceof Refused)) throw error
    throw new LinkExpired(error.message, { requestId: error.requestId })
  }
}

async function readRound(
  client: GraphClient,
  first: Answer,
  onPage: (entries: readonly DeltaEntry[]) => Promise<void>,
): Promise<{ link: string; entries: number }> {
  const seen = new Set<string>()
  let entries = 0
  for (let answer = first; ;) {
    const requestId = answer.headers.get('request-id') ?? undefined
    const page = deltaPage.safeParse(answer.json)
    if (!page.success) throw unexpected('a page of changes', requestId)
    entries += page.data.value.length
    await onPage(page.data.value.map(entryOf))
    const { '@odata.nextLink': next, '@odata.deltaLink': link } = page.data
    if (link !== undefined) {
      nextPath(client.baseUrl, link)
      return { link, entries }
    }
    if (next === undefined || seen.has(next))
      throw new SyncError('unexpected_response', 'Graph repeats a next-page link', { requestId })
    if (seen.size === maxPages) throw new GraphUnavailable('a round of changes has no end', { requestId })
    seen.add(next)
    answer = await client.request({ path: nextPath(client.baseUrl, next) })
  }
}

function entryOf(told: z.output<typeof entry>): DeltaEntry {
  const members = told['members@delta'] ?? []
  const of = (type: string) =>
    members.flatMap((each) => (each['@odata.type']?.toLowerCase() === type ? [each.id] : []))
  // One who has left may be told without a type: then either may be meant.
  const untyped = members.flatMap((each) => (each['@odata.type'] === undefined ? [each.id] : []))
  const left = new Set(members.flatMap((each) => (each['@removed'] === undefined ? [] : [each.id])))
  const { displayName = null, description = null, mail = null } = told
  const isTold = displayName !== null || description !== null || mail !== null
  return {
    objectId: told.id,
    removed: told['@removed'] !== undefined,
    users: [...of('#microsoft.graph.user'), ...untyped],
    groups: [...of('#microsoft.graph.group'), ...untyped],
    left: of('#microsoft.graph.group').filter((group) => left.has(group)),
    labels: isTold ? { displayName, description, mail } : undefined,
  }
}

const memberPage = z.looseObject({
  value: z.array(z.looseObject({ id: objectId })),
  '@odata.nextLink': z.string().optional(),
})

/**
 * Everybody in a group, through groups within it as well, page by page. A group that is gone has nobody. Resolves with how many
 * were listed.
 * @throws {SyncError} see {@link GraphClient.request}.
 */
export async function readPeopleIn(
  client: GraphClient,
  groupId: string,
  onPage: (objectIds: readonly string[]) => Promise<void>,
): Promise<number> {
  const seen = new Set<string>()
  let listed = 0
  let path = `/groups/${encodeURIComponent(groupId)}/transitiveMembers/microsoft.graph.user?$select=id&$top=999&$count=true`
  for (;;) {
    const answer = await client.request({ path, headers: advanced, missing: 'empty' })
    if (answer.status === 404) return listed
    const requestId = answer.headers.get('request-id') ?? undefined
    const page = memberPage.safeParse(answer.json)
    if (!page.success) throw unexpected('a page of members', requestId)
    listed += page.data.value.length
    await onPage(page.data.value.map((each) => each.id))
    const next = page.data['@odata.nextLink']
    if (next === undefined) return listed
    if (seen.has(next))
      throw new SyncError('unexpected_response', 'Graph repeats a next-page link', { requestId })
    seen.add(next)
    path = nextPath(client.baseUrl, next)
  }
}
