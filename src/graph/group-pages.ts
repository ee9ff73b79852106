import { GraphUnavailable, SyncError } from '../errors.ts'
import type { RemoteMembership, Snapshot } from '../snapshot.ts'
import { storableRequestId } from '../storable-text.ts'
import { Refused, unexpected, type Answer } from './answer.ts'
import type { GraphClient } from './client.ts'
import { groupPage, groupProperties, type GroupPage } from './wire.ts'

/** `direct` leaves out groups somebody is in through another group. */
export type GroupRead = 'transitive' | 'direct'

/** Sent again with every page: next-page links don't carry headers (Graph docs: paging). */
export const advanced = { ConsistencyLevel: 'eventual' }

/** Milliseconds: a worker must not be held by a tenant that drips. */
const maxWalkMs = 600_000

/** 1,000 pages of 999; a walk that long is a loop. */
const maxPages = 1000

/** The first page of the groups of `/me` or `/users/{id}`, to be asked for with {@link advanced}. */
export function groupsPath(owner: string, read: GroupRead): string {
  const relation = read === 'direct' ? 'memberOf' : 'transitiveMemberOf'
  const query = `$select=${groupProperties.join(',')}&$top=999&$count=true`
  return `${owner}/${relation}/microsoft.graph.group?${query}`
}

/** A page, and the id of the request that it answers. */
export type ReadPage = { page: GroupPage; requestId: string | undefined }

/** `requestId` where the answer has none of its own. */
export function readPage({ json, headers }: Answer, requestId: string | undefined): ReadPage {
  const id = storableRequestId(headers.get('request-id') ?? requestId)
  const page = groupPage.safeParse(json)
  if (!page.success) throw unexpected('a page of groups', id)
  return { page: page.data, requestId: id }
}

/**
 * Page after page, until one has no next link and all that the first announced were listed. Nothing short of that is a
 * list; nor is one without its count, which would prove itself.
 * @throws {SyncError} {@link GraphUnavailable} for a list that isn't whole, or takes longer than `withinMs` (ten minutes);
 * see {@link GraphClient.request} for the rest.
 */
export async function walkGroups(
  client: GraphClient,
  first: ReadPage,
  withinMs = maxWalkMs,
): Promise<Pick<Snapshot, 'memberships' | 'requestId'>> {
  const memberships = new Map<string, RemoteMembership>()
  const seen = new Set<string>()
  const announced = first.page['@odata.count']
  if (announced === undefined)
    throw new GraphUnavailable('Graph did not tell how many groups there are', {
      requestId: first.requestId,
    })
  const deadline = performance.now() + withinMs
  for (let read = first; ;) {
    const { page, requestId } = read
    for (const membership of page.value) memberships.set(membership.objectId, membership)
    const next = page['@odata.nextLink']
    if (next === undefined) {
      if (memberships.size < announced) {
        const told = `Graph announced ${announced} groups and listed ${memberships.size}`
        throw new GraphUnavailable(told, { requestId })
      }
      return { memberships: [...memberships.values()], requestId }
    }
    if (seen.has(next) || seen.size === maxPages) {
      throw new SyncError('unexpected_response', 'Graph repeats a next-page link', { requestId })
    }
    if (performance.now() > deadline) {
      throw new GraphUnavailable('the pages of a read took too long together', { requestId })
    }
    seen.add(next)
    read = readPage(await readNext(client, nextPath(client.baseUrl, next)), requestId)
  }
}

/**
 * What is refused of a link that Graph itself gave is the link's fault: one has expired, say (`Directory_ExpiredPageToken`).
 * A new read gets new ones.
 */
async function readNext(client: GraphClient, path: string) {
  try {
    return await client.request({ path, headers: advanced })
  } catch (error) {
    if (!(error instanceof SyncError) || error.code !== 'unexpected_response') throw error
    throw new GraphUnavailable(error.message, { requestId: error.requestId })
  }
}

/**
 * The part of a next-page link below the version, for a link of the configured Graph only: another origin would be
 * sent the token.
 * @throws {SyncError} `unexpected_response` for any other link.
 */
export function nextPath(baseUrl: string, link: string): string {
  const base = new URL(`${baseUrl}/v1.0/`)
  const url = URL.canParse(link) ? new URL(link) : undefined
  if (!url || url.origin !== base.origin || url.username !== '' || !url.pathname.startsWith(base.pathname)) {
    throw new Refused('a next-page link leads away from the configured Graph')
  }
  return `/${url.pathname.slice(base.pathname.length)}${url.search}`
}
