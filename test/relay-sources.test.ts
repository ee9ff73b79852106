import { randomUUID } from 'node:crypto'
import { afterEach, expect, test } from 'vitest'
import {
  insertLoginEvent,
  listLostLoginEvents,
  loginEventLag,
  type LostEventRules,
} from '../db/login-events.ts'
import { recordRun } from '../db/sync-runs.ts'
import { createLog } from '../src/log.ts'
import { startRelay, type Relay } from '../workers/relay.ts'
import { givenDatabase } from './support/database.ts'

const database = givenDatabase()
let relay: Relay | undefined

afterEach(async () => {
  await relay?.stop()
  relay = undefined
  await database.db.$client`truncate users cascade`
})

const rules = {
  notEnqueuedAfter: 0,
  notRunAfter: 60,
  mendable: ['graph_unavailable'],
  without: [],
  limit: 10,
}

const storeSignIn = async (objectId: string, source: string, settled = false) =>
  await insertLoginEvent(database.db, {
    eventId: randomUUID(),
    source,
    tenantId: 'tenant',
    objectId,
    userPrincipalName: null,
    displayName: null,
    mail: null,
    sealed: 'sealed',
    keyId: 'k1',
    expiresAt: '2030-01-01T00:00:00.000Z',
    scopes: [],
    settled,
  })

/** The queue took all events two hours ago. */
async function allEnqueuedLongAgo() {
  await database.db.$client`update login_events
    set received_at = received_at - interval '2 hours', enqueued_at = now() - interval '2 hours'`
}

async function runOf(userId: string, source: string) {
  const startedAt = new Date().toISOString()
  const run = {
    source,
    cause: 'login',
    startedAt,
    outcome: 'needs_login',
    errorCode: 'token_rejected',
  } as const
  await recordRun(database.db, { id: randomUUID(), userId, ...run })
}

const lost = async (more: Partial<LostEventRules> = {}) =>
  (await listLostLoginEvents(database.db, { ...rules, ...more })).map(({ eventId }) => eventId)

test('an event that only a run through another source followed is lost', async () => {
  const objectId = randomUUID()
  const { userId } = await storeSignIn(objectId, 'alpha')
  const { eventId } = await storeSignIn(objectId, 'beta')
  await allEnqueuedLongAgo()
  await runOf(userId, 'alpha')
  expect(await lost()).toEqual([eventId])
  await runOf(userId, 'beta')
  expect(await lost()).toEqual([])
})

test('an event is not brought back once the person has signed in through another source', async () => {
  const objectId = randomUUID()
  const { userId } = await storeSignIn(objectId, 'alpha')
  await storeSignIn(objectId, 'beta')
  await allEnqueuedLongAgo()
  await runOf(userId, 'beta')
  expect(await lost()).toEqual([])
})

test('a later sign-in through a source without group sync leaves the earlier one to be brought back', async () => {
  const objectId = randomUUID()
  const { eventId } = await storeSignIn(objectId, 'alpha')
  await storeSignIn(objectId, 'off')
  await allEnqueuedLongAgo()
  expect(await lost({ without: ['off'] })).toEqual([eventId])
})

test.for([
  ['at the first look, at those that were lost too', 0],
  ['at a look for those that the queue never took', 3_600_000],
] as const)(
  'of sign-ins through two sources that the queue never took only the newest is handed over (%s)',
  async ([, lostIntervalMs]) => {
    const { db } = database
    const taken: (string | undefined)[] = []
    const looked = Promise.withResolvers<void>()
    const newestTaken = Promise.withResolvers<void>()
    const first = await storeSignIn(randomUUID(), 'alpha')
    const wanted = new Set<string | undefined>()
    const enqueue = async (jobs: readonly { loginEventId?: string | undefined }[]) => {
      taken.push(...jobs.map(({ loginEventId }) => loginEventId))
      looked.resolve()
      if (taken.some((eventId) => wanted.has(eventId))) newestTaken.resolve()
      return true
    }
    const objectId = randomUUID()
    const store = async () => {
      const { eventId: older } = await storeSignIn(objectId, 'alpha', true)
      const { eventId } = await storeSignIn(objectId, 'beta', true)
      wanted.add(eventId)
      // Both at once, for a relay that is looking.
      await db.$client`update login_events set enqueued_at = null where id in ${db.$client([older, eventId])}`
      return eventId
    }
    const before = lostIntervalMs === 0 ? [await store()] : []
    relay = startRelay(
      { db, enqueue, log: createLog('silent') },
      { intervalMs: 5, lostIntervalMs, notEnqueuedAfter: 0 },
    )
    await looked.promise
    const after = lostIntervalMs === 0 ? [] : [await store()]
    await newestTaken.promise
    await relay.stop()
    expect(taken).toEqual([first.eventId, ...before, ...after])
    expect(await loginEventLag(db)).toEqual({ waiting: 0, oldestSeconds: 0 })
  },
)
