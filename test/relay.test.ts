import { randomBytes, randomUUID } from 'node:crypto'
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'vitest'
import { closeDatabase, openDatabase } from '../db/client.ts'
import {
  insertLoginEvent,
  listLostLoginEvents,
  loginEventLag,
  markEnqueued,
  updateUserLabels,
} from '../db/login-events.ts'
import { recordRun } from '../db/sync-runs.ts'
import { createLog } from '../src/log.ts'
import type { SyncUserJob } from '../src/queue/catalogue.ts'
import { startRelay, type Relay } from '../workers/relay.ts'
import { createTestDatabase, type TestDatabase } from './support/database.ts'
import { waitForWaiter } from './support/locks.ts'

let database: TestDatabase
let relay: Relay | undefined
const log = createLog('silent')

beforeAll(async () => {
  database = await createTestDatabase()
})
beforeEach(async () => {
  await database.db.$client`truncate users cascade`
})
afterEach(async () => {
  await relay?.stop()
  relay = undefined
})
afterAll(() => database.close())

const event = (objectId: string = randomUUID()) => ({
  eventId: randomUUID(),
  source: 'entra-id',
  tenantId: 'tenant',
  objectId,
  userPrincipalName: 'ada@contoso.example',
  displayName: 'Ada',
  mail: null,
  sealed: randomBytes(16).toString('base64'),
  keyId: 'k1',
  expiresAt: '2030-01-01T00:00:00.000Z',
  scopes: ['User.Read'],
})

/** A queue that takes nothing for the first calls; resolves with what it took once that is enough. */
function queueDownFor(calls: number, enough = 1) {
  const taken = Promise.withResolvers<readonly SyncUserJob[]>()
  const all: SyncUserJob[] = []
  let left = calls
  return {
    taken: taken.promise,
    enqueue: async (jobs: readonly SyncUserJob[]) => {
      left -= 1
      if (left >= 0) return false
      all.push(...jobs)
      if (all.length >= enough) taken.resolve(all)
      return true
    },
  }
}

test('events that never reached the queue are handed over as soon as it takes them, and then no more', async () => {
  const { db } = database
  const stored = [await insertLoginEvent(db, event()), await insertLoginEvent(db, event())]
  expect(await loginEventLag(db)).toMatchObject({ waiting: 2 })
  const queue = queueDownFor(3, stored.length)
  relay = startRelay({ db, enqueue: queue.enqueue, log }, { intervalMs: 5, notEnqueuedAfter: 0 })
  const jobs = await queue.taken
  expect(jobs.map(({ loginEventId }) => loginEventId)).toEqual(stored.map(({ eventId }) => eventId))
  expect(jobs.map(({ cause }) => cause)).toEqual(['login', 'login'])
  await relay.stop()
  expect(await loginEventLag(db)).toEqual({ waiting: 0, oldestSeconds: 0 })
})

test('a relay outlives a database error', async () => {
  const { db } = database
  await insertLoginEvent(db, event())
  const queue = queueDownFor(0)
  let failures = 2
  const enqueue = async (jobs: readonly SyncUserJob[]) => {
    failures -= 1
    if (failures >= 0) throw new Error('unexpected')
    return await queue.enqueue(jobs)
  }
  relay = startRelay({ db, enqueue, log }, { intervalMs: 5, notEnqueuedAfter: 0 })
  expect(await queue.taken).toHaveLength(1)
})

test('an event the queue lost is found by having no run after it; one that was run, or is fresh, is not', async () => {
  const { db } = database
  const lost = await insertLoginEvent(db, event())
  const run = await insertLoginEvent(db, event())
  const fresh = await insertLoginEvent(db, event())
  await markEnqueued(db, [lost.eventId, run.eventId, fresh.eventId])
  await db.$client`update login_events set enqueued_at = enqueued_at - interval '1 hour' where id <> ${fresh.eventId}`
  // A run from before the sign-in doesn't count.
  await recordRun(db, {
    id: randomUUID(),
    userId: lost.userId,
    source: 'entra-id',
    cause: 'login',
    startedAt: '2020-01-01T00:00:00Z',
    outcome: 'failed',
    errorCode: 'wrong_user',
  })
  await recordRun(db, {
    id: randomUUID(),
    userId: run.userId,
    source: 'entra-id',
    cause: 'login',
    startedAt: new Date(Date.now() + 1000).toISOString(),
    outcome: 'failed',
    errorCode: 'wrong_user',
  })
  const found = await listLostLoginEvents(db, {
    notEnqueuedAfter: 0,
    notRunAfter: 60,
    mendable: ['graph_unavailable'],
    limit: 10,
    without: [],
  })
  expect(found.map(({ eventId }) => eventId)).toEqual([lost.eventId])
})

/** An event that the queue took an hour ago, and that no run followed. */
async function insertLost() {
  const { db } = database
  // Enqueued from the first moment on: a relay may be looking.
  const { eventId } = await insertLoginEvent(db, { ...event(), settled: true })
  await db.$client`update login_events
    set received_at = now() - interval '1 hour', enqueued_at = now() - interval '1 hour' where id = ${eventId}`
  return eventId
}

test('events the queue lost are looked for at the start and then from time to time, the others at every look', async () => {
  const { db } = database
  const taken: (string | undefined)[] = []
  const arrived: { count: number; resolve: () => void }[] = []
  const enqueue = async (jobs: readonly SyncUserJob[]) => {
    taken.push(...jobs.map(({ loginEventId }) => loginEventId))
    for (const { count, resolve } of arrived) if (taken.length >= count) resolve()
    return true
  }
  const arrival = async (count: number) =>
    await new Promise<void>((resolve) => {
      arrived.push({ count, resolve })
      if (taken.length >= count) resolve()
    })
  const lost = await insertLost()
  relay = startRelay(
    { db, enqueue, log },
    { intervalMs: 5, lostIntervalMs: 3_600_000, notEnqueuedAfter: 0, notRunAfter: 60 },
  )
  await arrival(1)
  const later = await insertLost()
  const others = []
  for (let count = 2; count < 5; count += 1) {
    others.push((await insertLoginEvent(db, event())).eventId)
    await arrival(count)
  }
  expect(taken).toEqual([lost, ...others])
  await relay.stop()
  relay = startRelay({ db, enqueue, log }, { intervalMs: 5, lostIntervalMs: 5, notRunAfter: 60 })
  await arrival(5)
  const last = await insertLost()
  await arrival(6)
  expect(taken.slice(4)).toEqual([later, last])
})

test('one looks for lost events at a time', async () => {
  const { db, url } = database
  const lost = await insertLost()
  const rules = { notEnqueuedAfter: 0, notRunAfter: 60, mendable: [], without: [], limit: 10 }
  const other = openDatabase(url, { max: 1 })
  let looking: Promise<{ eventId: string }[]> | undefined
  await db.$client.begin(async (sql) => {
    await sql`lock table sync_runs in access exclusive mode`
    looking = listLostLoginEvents(other, rules)
    await waitForWaiter(db)
    expect(await listLostLoginEvents(db, rules)).toEqual([])
  })
  expect((await looking)?.map(({ eventId }) => eventId)).toEqual([lost])
  await closeDatabase(other)
})

test('storing a login event never waits for a run that holds the user, and the labels follow', async () => {
  const { db, url } = database
  const objectId = randomUUID()
  await insertLoginEvent(db, event(objectId))
  const other = openDatabase(url, { max: 1 })
  const renamed = { ...event(objectId), displayName: 'Countess' }
  await other.$client.begin(async (sql) => {
    await sql`select 1 from users where object_id = ${objectId} for no key update`
    expect(await insertLoginEvent(db, renamed)).toMatchObject({ labelled: false })
  })
  await updateUserLabels(db, renamed)
  expect(await db.$client`select display_name, mail from users`).toEqual([
    { display_name: 'Countess', mail: null },
  ])
  await closeDatabase(other)
})

test('a first sign-in that meets another of the same person half-way waits for it and uses its row', async () => {
  const { db, url } = database
  const objectId = randomUUID()
  const other = openDatabase(url, { max: 1 })
  let stored: Promise<unknown> | undefined
  await other.$client.begin(async (sql) => {
    await sql`insert into users (tenant_id, object_id) values ('tenant', ${objectId})`
    stored = insertLoginEvent(db, event(objectId))
    const waits = async () => {
      const [row] = await db.$client`select exists (select from pg_locks where not granted) as waiting`
      return row?.['waiting'] === true
    }
    while (!(await waits()));
  })
  await stored
  expect(await db.$client`select count(*)::int as events from login_events`).toEqual([{ events: 1 }])
  await closeDatabase(other)
})

test('events whose run a later one may mend are brought back, one that failed for good is not', async () => {
  const { db } = database
  const failedWith = async (errorCode: string) => {
    const { userId, eventId } = await insertLoginEvent(db, event())
    await markEnqueued(db, [eventId])
    const startedAt = new Date(Date.now() + 1000).toISOString()
    const run = { source: 'entra-id', cause: 'login', startedAt, outcome: 'failed', errorCode } as const
    await recordRun(db, { id: randomUUID(), userId, ...run })
    return eventId
  }
  const mendable = ['graph_unavailable', 'throttled_too_long', 'source_unknown']
  const stored = []
  for (const code of mendable) stored.push(await failedWith(code))
  await failedWith('wrong_user')
  await db.$client`update login_events set enqueued_at = enqueued_at - interval '1 hour'`
  const queue = queueDownFor(0)
  relay = startRelay({ db, enqueue: queue.enqueue, log }, { intervalMs: 5, notRunAfter: 60 })
  expect((await queue.taken).map(({ loginEventId }) => loginEventId)).toEqual(stored)
})

test('of many lost events the oldest come first', async () => {
  const { db } = database
  const stored = []
  for (let count = 0; count < 4; count += 1) stored.push(await insertLoginEvent(db, event()))
  await db.$client`update login_events set enqueued_at = clock_timestamp() - interval '1 hour' where id = ${stored[0]!.eventId}`
  const found = await listLostLoginEvents(db, {
    notEnqueuedAfter: 0,
    notRunAfter: 60,
    mendable: ['graph_unavailable'],
    limit: 3,
    without: [],
  })
  expect(found.map(({ eventId }) => eventId)).toEqual(stored.slice(0, 3).map(({ eventId }) => eventId))
})

test('an event of more than a day ago that was enqueued is left to the next sign-in', async () => {
  const { db } = database
  const { eventId } = await insertLoginEvent(db, event())
  await db.$client`update login_events
    set received_at = now() - interval '25 hours', enqueued_at = now() - interval '1 hour' where id = ${eventId}`
  expect(
    await listLostLoginEvents(db, {
      notEnqueuedAfter: 0,
      notRunAfter: 60,
      mendable: ['graph_unavailable'],
      limit: 3,
      without: [],
    }),
  ).toEqual([])
})

test('two first sign-ins of one person at once make one user and two events', async () => {
  const { db } = database
  const objectId = randomUUID()
  const stored = await Promise.all(Array.from({ length: 8 }, () => insertLoginEvent(db, event(objectId))))
  expect(new Set(stored.map(({ userId }) => userId)).size).toBe(1)
  expect(await db.$client`select count(*)::int as events from login_events`).toEqual([{ events: 8 }])
  expect(await db.$client`select count(*)::int as tokens from delegated_tokens`).toEqual([{ tokens: 1 }])
})

test('a label the sign-in does not tell keeps its value', async () => {
  const { db } = database
  const objectId = randomUUID()
  await insertLoginEvent(db, event(objectId))
  await insertLoginEvent(db, { ...event(objectId), displayName: null, userPrincipalName: null })
  expect(await db.$client`select display_name, user_principal_name from users`).toEqual([
    { display_name: 'Ada', user_principal_name: 'ada@contoso.example' },
  ])
})
