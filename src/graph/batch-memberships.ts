import { GraphUnavailable, SyncError, Throttled } from '../errors.ts'
import type { Snapshot } from '../snapshot.ts'
import { isNotFound, refuse, unexpected, type Answer } from './answer.ts'
import { answerTo, isGood, maxRequests, readBatch } from './batch.ts'
import type { GraphClient } from './client.ts'
import { advanced, groupsPath, readPage, walkGroups, type GroupRead, type ReadPage } from './group-pages.ts'
import { peoplePage, profileProperties, type BatchAnswer, type PeoplePage, type Person } from './wire.ts'

/** How many ids `in` takes without the advanced parameters (Graph docs: filter-query-parameter). */
const maxIds = 15

/** What one batch has room for: a question for each, and one for every {@link maxIds} that asks who they are. */
export const maxUsersAsked = maxRequests - 2

/** What a batch costs as far as one knows beforehand: a unit for each person, and one for each list. */
export const unitsOfBatch = (users: number): number => users + Math.ceil(users / maxIds)

export type BatchReadOptions = {
  /** Object ids, at most {@link maxUsersAsked}. */
  users: readonly string[]
  /** Of an app, `direct` wants Directory.Read.All, which `transitive` doesn't (Graph docs: user-list-memberof). */
  read: GroupRead
  /** When the read begins, by the database's clock. */
  beganAt: string
  /** Milliseconds for all pages of one of them; default ten minutes. */
  withinMs?: number
}

/** What became of one of them. */
export type UserRead =
  | {
      kind: 'snapshot'
      snapshot: Snapshot
      /** Whether they may sign in; undefined where Graph doesn't tell. */
      enabled: boolean | undefined
    }
  /** Graph finds neither their groups nor them. */
  | { kind: 'gone' }
  | { kind: 'failed'; error: SyncError }

/**
 * Every group of each of these people, with a token of the app itself, by the ids given: one batch, whose answers concern
 * one person each, and then one by one the further pages of those who have any, by {@link walkGroups}.
 *
 * Who they are is asked in the same batch, of lists filtered by their ids: two units and two requests for all of them, where
 * a request for each would cost twice the units, and twice the batches. `getByIds` costs as much as the lists, and wants
 * Directory.Read.All, where they go with the User.Read.All that the groups want (Graph docs: throttling-limits,
 * directoryobject-getbyids, user-list). Where a list fails its people are read without their labels.
 *
 * A list is also the second witness of who is gone: groups come from an index that lags behind and may not know yet who is
 * new (Graph docs: aad-advanced-queries), and lists without the advanced parameters don't. Where the two contradict each other
 * nothing is known.
 *
 * Where the answer is too large its people are read by halves, down to one, who alone fails with it.
 *
 * Once Graph has asked for a pause nothing more is asked for: who has more pages, or is in the other half, is throttled as
 * well.
 * @throws {SyncError} for what concerns them all: see {@link GraphClient.request}, and `unexpected_response` for no batch.
 */
export async function readMembershipsOf(client: GraphClient, options: BatchReadOptions): Promise<Reads> {
  const users = [...new Set(options.users)]
  if (users.length > maxUsersAsked) throw new RangeError(`a batch reads ${maxUsersAsked} people at most`)
  if (users.length === 0) return new Map()
  return await readOrHalve(client, users, options)
}

type Reads = ReadonlyMap<string, UserRead>

async function readOrHalve(
  client: GraphClient,
  users: readonly string[],
  options: BatchReadOptions,
): Promise<Reads> {
  try {
    return await readOnce(client, users, options)
  } catch (thrown) {
    const error = caught(thrown)
    if (error.code !== 'answer_too_large') throw error
    if (users.length === 1) return failedAll(users, error)
  }
  const half = Math.ceil(users.length / 2)
  const some = await readOrHalve(client, users.slice(0, half), options)
  const rest = users.slice(half)
  const pause = pauseIn(some)
  return new Map([...some, ...(pause ? failedAll(rest, pause) : await readOrHalve(client, rest, options))])
}

function failedAll(users: readonly string[], error: SyncError): Reads {
  return new Map(users.map((user) => [user, { kind: 'failed', error }]))
}

function pauseIn(reads: Reads): Throttled | undefined {
  return [...reads.values()]
    .map((read) => (read.kind === 'failed' ? read.error : undefined))
    .find((error) => error instanceof Throttled)
}

async function readOnce(
  client: GraphClient,
  users: readonly string[],
  options: BatchReadOptions,
): Promise<Reads> {
  const answer = await client.request({
    path: '/$batch',
    body: { requests: [...users.map(groupsOf(options.read)), ...inLists(users).map(peopleIn)] },
  })
  const requestId = answer.headers.get('request-id') ?? undefined
  const batch = readBatch(answer)
  const asked = findPeople(batch, users, requestId).map(({ user, who }, index) => ({
    user,
    who,
    first: firstOf(answerTo(batch, `groups-${index}`), who, requestId),
  }))
  let pause = asked.flatMap(({ who, first }) => [who, first]).find((each) => each instanceof Throttled)
  const reads = new Map<string, UserRead>()
  for (const { user, who, first } of asked) {
    const isPage = first !== 'gone' && !(first instanceof SyncError)
    const end = isPage ? await walk(client, first, pause, options.withinMs) : first
    if (end instanceof Throttled) pause ??= end
    reads.set(user, readOf(end, who, options.beganAt))
  }
  return reads
}

const groupsOf = (read: GroupRead) => (user: string, index: number) => ({
  id: `groups-${index}`,
  method: 'GET',
  url: groupsPath(`/users/${encodeURIComponent(user)}`, read),
  headers: advanced,
})

function inLists(users: readonly string[]): string[][] {
  return Array.from({ length: Math.ceil(users.length / maxIds) }, (_, index) =>
    users.slice(index * maxIds, (index + 1) * maxIds),
  )
}

function peopleIn(users: readonly string[], index: number) {
  const ids = users.map((user) => `'${user.replaceAll("'", "''")}'`)
  const filter = encodeURIComponent(`id in (${ids.join(',')})`)
  const select = [...profileProperties, 'accountEnabled'].join(',')
  return { id: `people-${index}`, method: 'GET', url: `/users?$select=${select}&$filter=${filter}` }
}

/** `unlisted` where Graph lists all of the people asked about that there are, and not this one. */
type Who = Person | 'unlisted' | SyncError

/** In the order of the users. */
function findPeople(
  batch: BatchAnswer,
  users: readonly string[],
  requestId: string | undefined,
): { user: string; who: Who }[] {
  return inLists(users).flatMap((ids, index) => {
    const list = peopleOf(answerTo(batch, `people-${index}`), requestId)
    return ids.map((user) => ({ user, who: whoIs(user, list) }))
  })
}

function peopleOf(answer: Answer | undefined, requestId: string | undefined): PeoplePage | SyncError {
  if (!answer) return unexpected('a batch', requestId)
  if (!isGood(answer)) return refuse(answer)
  const page = peoplePage.safeParse(answer.json)
  return page.success ? page.data : unexpected('a list of people', requestId)
}

function whoIs(user: string, list: PeoplePage | SyncError): Who {
  if (list instanceof SyncError) return list
  const found = list.value.find(({ id }) => id === user.toLowerCase())
  if (found) return found
  if (list['@odata.nextLink'] === undefined) return 'unlisted'
  return new GraphUnavailable('Graph did not list all people it was asked about')
}

function firstOf(
  answer: Answer | undefined,
  who: Who,
  requestId: string | undefined,
): ReadPage | 'gone' | SyncError {
  if (!answer) return unexpected('a batch', requestId)
  if (isNotFound(answer)) {
    if (who === 'unlisted') return 'gone'
    if (who instanceof SyncError) return who
    return new GraphUnavailable("Graph knows the person and doesn't find their groups yet", { requestId })
  }
  if (!isGood(answer)) return refuse(answer)
  try {
    return readPage(answer, requestId)
  } catch (error) {
    return caught(error)
  }
}

type Walked = Awaited<ReturnType<typeof walkGroups>>

async function walk(
  client: GraphClient,
  first: ReadPage,
  pause: Throttled | undefined,
  withinMs: number | undefined,
): Promise<Walked | SyncError> {
  if (pause && first.page['@odata.nextLink'] !== undefined) return pause
  try {
    return await walkGroups(client, first, withinMs)
  } catch (error) {
    return caught(error)
  }
}

/** An error of ours is one person's; any other is a mistake in here. */
function caught(error: unknown): SyncError {
  if (error instanceof SyncError) return error
  throw error
}

function readOf(end: Walked | 'gone' | SyncError, who: Who, beganAt: string): UserRead {
  if (end === 'gone') return { kind: 'gone' }
  if (end instanceof SyncError) return { kind: 'failed', error: end }
  if (who === 'unlisted') {
    const { requestId } = end
    const error = new GraphUnavailable("Graph lists the person's groups and not the person", { requestId })
    return { kind: 'failed', error }
  }
  const person = who instanceof SyncError ? undefined : who
  return {
    kind: 'snapshot',
    snapshot: { beganAt, person: person?.profile, ...end },
    enabled: person?.enabled,
  }
}
