import { randomBytes, randomUUID } from 'node:crypto'
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'vitest'
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

/** A queue that takes nothing for the first calls; resolves with what it took. */
function queueDownFor(calls: number) {
  const taken = Promise.withResolvers<readonly SyncUserJob[]>()
  let left = calls
  return {
    taken: taken.promise,
    enqueue: async (jobs: readonly SyncUserJob[]) => {
      left -= 1
      if (left >= 0) return false
      taken.resolve(jobs)
      return true
    },
  }
}

test('events that never reached the queue are handed over as soon as it takes them, and then no more', async () => {
  const { db } = database
  const stored = [await insertLoginEvent(db, event()), await insertLoginEvent(db, event())]
  expect(await loginEventLag(db)).toMatchObject({ waiting: 2 })
  const queue = queueDownFor(3)
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
  await recordRun(db, {
    id: randomUUID(),
    userId: run.userId,
    source: 'entra-id',
    cause: 'login',
    startedAt: new Date(Date.now() + 1000).toISOString(),
    outcome: 'failed',
    errorCode: 'graph_unavailable',
  })
  const found = await listLostLoginEvents(db, { notEnqueuedAfter: 0, notRunAfter: 60, limit: 10 })
  expect(found.map(({ eventId }) => eventId)).toEqual([lost.eventId])
})

test('storing a login event never waits for a run that holds the user, and the labels follow', async () => {
  const { db, url } = database
  const objectId = randomUUID()
  await insertLoginEvent(db, event(objectId))
  const { openDatabase, closeDatabase } = await import('../db/client.ts')
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
