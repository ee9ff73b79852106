import { GraphUnavailable, SyncError } from '../errors.ts'
import type { Profile, RemoteMembership, Snapshot } from '../snapshot.ts'
import { refuse } from './answer.ts'
import type { GraphClient } from './client.ts'
import { batchAnswer, groupPage, groupProperties, me, profileProperties, type GroupPage } from './wire.ts'

export type ReadOptions = {
  /** Object id of the user the token must belong to. */
  objectId: string
  /** `direct` leaves out groups the user is in through another group. */
  read: 'transitive' | 'direct'
  /** When the read begins, by the database's clock. */
  beganAt: string
  /** Milliseconds for all pages together; default ten minutes. */
  withinMs?: number
}

/** Sent again with every page: next-page links don't carry headers (Graph docs: paging). */
const advanced = { ConsistencyLevel: 'eventual' }

/** Milliseconds: a worker must not be held by a tenant that drips. */
const maxWalkMs = 600_000

/** 1,000 pages of 999; a walk that long is a loop. */
const maxPages = 1000

/**
 * Every group the token's user is in. `/me` travels in one batch with the first page and proves whose token it is;
 * then page after page until one has no next link and all that the first announced were listed. Nothing short of that
 * becomes a snapshot; nor does a list without its count, which would prove itself.
 * @throws {SyncError} `wrong_user` if the token is somebody else's; {@link GraphUnavailable} for a list that isn't whole, or
 * takes too long; see {@link GraphClient.request} for the rest.
 */
export async function readMemberships(client: GraphClient, options: ReadOptions): Promise<Snapshot> {
  const relation = options.read === 'direct' ? 'memberOf' : 'transitiveMemberOf'
  const query = `$select=${groupProperties.join(',')}&$top=999&$count=true`
  const first = await readFirst(client, `/me/${relation}/microsoft.graph.group?${query}`)
  if (first.userId !== options.objectId.toLowerCase()) {
    throw new SyncError('wrong_user', 'the token belongs to another user than the job', {
      requestId: first.requestId,
    })
  }
  const memberships = new Map<string, RemoteMembership>()
  const seen = new Set<string>()
  let page = first.page
  let requestId = first.requestId
  const announced = first.page['@odata.count']
  if (announced === undefined)
    throw new GraphUnavailable('Graph did not tell how many groups there are', { requestId })
  const deadline = performance.now() + (options.withinMs ?? maxWalkMs)
  for (;;) {
    for (const membership of page.value) memberships.set(membership.objectId, membership)
    const next = page['@odata.nextLink']
    if (next === undefined) {
      if (memberships.size < announced) {
        const told = `Graph announced ${announced} groups and listed ${memberships.size}`
        throw new GraphUnavailable(told, { requestId })
      }
      return {
        beganAt: options.beganAt,
        memberships: [...memberships.values()],
        person: first.person,
        requestId,
      }
    }
    if (seen.has(next) || seen.size === maxPages) {
      throw new SyncError('unexpected_response', 'Graph repeats a next-page link', { requestId })
    }
    if (performance.now() > deadline) {
      throw new GraphUnavailable('the pages of a read took too long together', { requestId })
    }
    seen.add(next)
    const answer = await readNext(client, nextPath(client.baseUrl, next))
    requestId = answer.headers.get('request-id') ?? requestId
    page = parsePage(answer.json, requestId)
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

type FirstPage = {
  userId: string
  person: Profile
  page: GroupPage
  requestId: string | undefined
}

async function readFirst(client: GraphClient, path: string): Promise<FirstPage> {
  const answer = await client.request({
    path: '/$batch',
    body: {
      requests: [
        { id: 'me', method: 'GET', url: `/me?$select=${profileProperties.join(',')}` },
        { id: 'groups', method: 'GET', url: path, headers: advanced },
      ],
    },
  })
  const requestId = answer.headers.get('request-id') ?? undefined
  const batch = batchAnswer.safeParse(answer.json)
  if (!batch.success) throw unexpected('a batch', requestId)
  const inner = (id: string) => {
    const found = batch.data.responses.find((response) => response.id === id)
    if (!found) throw unexpected('a batch', requestId)
    const headers = new Headers(found.headers ?? {})
    if (found.status < 200 || found.status > 299)
      throw refuse({ status: found.status, headers, json: found.body })
    return { json: found.body, requestId: headers.get('request-id') ?? requestId }
  }
  const person = me.safeParse(inner('me').json)
  const groups = inner('groups')
  if (!person.success) throw unexpected('/me', requestId)
  return {
    userId: person.data.id,
    person: person.data.profile,
    page: parsePage(groups.json, groups.requestId),
    requestId: groups.requestId,
  }
}

function parsePage(json: unknown, requestId: string | undefined): GroupPage {
  const page = groupPage.safeParse(json)
  if (!page.success) throw unexpected('a page of groups', requestId)
  return page.data
}

function unexpected(what: string, requestId: string | undefined): SyncError {
  return new SyncError('unexpected_response', `Graph's answer does not have the shape of ${what}`, {
    requestId,
  })
}

/**
 * The part of a next-page link below the version, for a link of the configured Graph only: another origin would be
 * sent the user's token.
 * @throws {SyncError} `unexpected_response` for any other link.
 */
export function nextPath(baseUrl: string, link: string): string {
  const base = new URL(`${baseUrl}/v1.0/`)
  const url = URL.canParse(link) ? new URL(link) : undefined
  if (!url || url.origin !== base.origin || url.username !== '' || !url.pathname.startsWith(base.pathname)) {
    throw new SyncError('unexpected_response', 'a next-page link leads away from the configured Graph')
  }
  return `/${url.pathname.slice(base.pathname.length)}${url.search}`
}
