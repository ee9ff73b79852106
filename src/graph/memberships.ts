import { GraphUnavailable, SyncError } from '../errors.ts'
import type { RemoteMembership, Snapshot } from '../snapshot.ts'
import { refuse } from './answer.ts'
import type { GraphClient } from './client.ts'
import { batchAnswer, groupPage, groupProperties, me, type GroupPage } from './wire.ts'

export type ReadOptions = {
  /** Object id of the user the token must belong to. */
  objectId: string
  /** `direct` leaves out groups the user is in through another group. */
  read: 'transitive' | 'direct'
  /** When the read begins, by the database's clock. */
  beganAt: string
}

/** Sent again with every page: next-page links don't carry headers (Graph docs: paging). */
const advanced = { ConsistencyLevel: 'eventual' }

/** 1,000 pages of 999; a walk that long is a loop. */
const maxPages = 1000

/**
 * Every group the token's user is in. `/me` travels in one batch with the first page and proves whose token it is;
 * then page after page until one has no next link and all that the first announced were listed. Nothing short of that
 * becomes a snapshot.
 * @throws {SyncError} `wrong_user` if the token is somebody else's; see {@link GraphClient.request} for the rest.
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
  const announced = first.page['@odata.count'] ?? 0
  let requestId = first.requestId
  for (;;) {
    for (const membership of page.value) memberships.set(membership.objectId, membership)
    const next = page['@odata.nextLink']
    if (next === undefined) {
      if (memberships.size < announced) {
        const told = `Graph announced ${announced} groups and listed ${memberships.size}`
        throw new GraphUnavailable(told, { requestId })
      }
      return { beganAt: options.beganAt, memberships: [...memberships.values()], requestId }
    }
    if (seen.has(next) || seen.size === maxPages) {
      throw new SyncError('unexpected_response', 'Graph repeats a next-page link', { requestId })
    }
    seen.add(next)
    const answer = await client.request({ path: nextPath(client.baseUrl, next), headers: advanced })
    requestId = answer.headers.get('request-id') ?? requestId
    page = parsePage(answer.json, requestId)
  }
}

type FirstPage = { userId: string; page: GroupPage; requestId: string | undefined }

async function readFirst(client: GraphClient, path: string): Promise<FirstPage> {
  const answer = await client.request({
    path: '/$batch',
    body: {
      requests: [
        { id: 'me', method: 'GET', url: '/me?$select=id' },
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
