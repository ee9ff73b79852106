import { SyncError } from '../errors.ts'
import type { Snapshot } from '../snapshot.ts'
import { refuse, unexpected } from './answer.ts'
import { answerTo, isGood, readBatch } from './batch.ts'
import type { GraphClient } from './client.ts'
import { advanced, groupsPath, readPage, walkGroups, type GroupRead, type ReadPage } from './group-pages.ts'
import { person, profileProperties, type Person } from './wire.ts'

export type ReadOptions = {
  /** Object id of the user the token must belong to. */
  objectId: string
  read: GroupRead
  /** When the read begins, by the database's clock. */
  beganAt: string
  /** Milliseconds for all pages together; default ten minutes. */
  withinMs?: number
}

/**
 * Every group the token's user is in. `/me` travels in one batch with the first page and proves whose token it is; the
 * other pages follow by {@link walkGroups}.
 * @throws {SyncError} `wrong_user` if the token is somebody else's; see {@link walkGroups} for the rest.
 */
export async function readMemberships(client: GraphClient, options: ReadOptions): Promise<Snapshot> {
  const first = await readFirst(client, groupsPath('/me', options.read))
  if (first.person.id !== options.objectId.toLowerCase()) {
    throw new SyncError('wrong_user', 'the token belongs to another user than the job', {
      requestId: first.requestId,
    })
  }
  const walked = await walkGroups(client, first, options.withinMs)
  return { beganAt: options.beganAt, person: first.person.profile, ...walked }
}

async function readFirst(client: GraphClient, path: string): Promise<ReadPage & { person: Person }> {
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
  const batch = readBatch(answer)
  const inner = (id: string) => {
    const found = answerTo(batch, id)
    if (!found) throw unexpected('a batch', requestId)
    if (!isGood(found)) throw refuse(found)
    return found
  }
  const me = person.safeParse(inner('me').json)
  const groups = inner('groups')
  if (!me.success) throw unexpected('/me', requestId)
  return { person: me.data, ...readPage(groups, requestId) }
}
