import { randomUUID } from 'node:crypto'
import { once } from 'node:events'
import { createConnection, createServer } from 'node:net'
import { afterEach, expect, test } from 'vitest'
import { insertLoginEvent, loginEventLag } from '../db/login-events.ts'
import { createLog } from '../src/log.ts'
import { openQueueBackend } from '../src/queue/backend.ts'
import { syncQueueName, type SyncUserJob } from '../src/queue/catalogue.ts'
import { createEnqueue, type Enqueue } from '../src/queue/enqueue.ts'
import { relayEnqueueing, startRelay, type Relay } from '../workers/relay.ts'
import { givenDatabase } from './support/database.ts'

const database = givenDatabase()
const log = createLog('silent')
const closers: (() => unknown)[] = []

afterEach(async () => {
  for (const close of closers.splice(0).toReversed()) await close()
  await database.db.$client`truncate users cascade`
})

async function storeSignIns(count: number) {
  const { db } = database
  for (let left = count; left > 0; left -= 1) {
    await insertLoginEvent(db, {
      eventId: randomUUID(),
      source: 'entra-id',
      tenantId: 'tenant',
      objectId: randomUUID(),
      userPrincipalName: null,
      displayName: null,
      mail: null,
      sealed: 'sealed',
      keyId: 'k1',
      expiresAt: '2030-01-01T00:00:00.000Z',
      scopes: [],
    })
  }
}

function start(enqueue: Enqueue): Relay {
  const relay = startRelay({ db: database.db, enqueue, log }, { intervalMs: 5, notEnqueuedAfter: 0 })
  closers.push(relay.stop)
  return relay
}

test('events behind more than the queue takes at once are handed over in parts that it takes, each marked', async () => {
  const { db } = database
  await storeSignIns(700)
  const taken: string[] = []
  const waiting: number[] = []
  const allTaken = Promise.withResolvers<void>()
  const relay = start(async (jobs) => {
    if (jobs.length > 30) return false
    waiting.push((await loginEventLag(db)).waiting)
    taken.push(...jobs.map(({ userId }) => userId))
    if (new Set(taken).size === 700) allTaken.resolve()
    return true
  })
  await allTaken.promise
  await relay.stop()
  expect(taken).toHaveLength(700)
  expect(waiting).toEqual(waiting.toSorted((one, other) => other - one))
  expect(new Set(waiting).size).toBe(waiting.length)
  expect((await loginEventLag(db)).waiting).toBe(0)
})

test('the parts grow again once a queue that was slow takes them', async () => {
  await storeSignIns(600)
  let slow = true
  const sizes: number[] = []
  const large = Promise.withResolvers<void>()
  start(async (jobs) => {
    if (slow && jobs.length > 1) return false
    slow = false
    sizes.push(jobs.length)
    if (jobs.length === 100) large.resolve()
    return true
  })
  await large.promise
  expect(sizes).toEqual([1, 2, 4, 8, 16, 32, 64, 100])
})

test('a queue that is far away gets hundreds of events without a failure', async () => {
  const { db, url } = database
  await storeSignIns(600)
  const far = await openDistance(url, 8)
  const near = await openQueueBackend({ url, use: 'worker' })
  closers.push(near.close)
  await near.prepare()
  const producer = await openQueueBackend({ url: far, use: 'producer', maxConnections: 5 })
  closers.push(producer.close)
  const failures: unknown[] = []
  const enqueue = createEnqueue(producer, {
    ...relayEnqueueing,
    onFailure: (error) => failures.push(error),
  })
  const handed = Promise.withResolvers<void>()
  const relayed: SyncUserJob[] = []
  const relay = start(async (jobs) => {
    const all = await enqueue(jobs)
    if (all) relayed.push(...jobs)
    if (relayed.length >= 600) handed.resolve()
    return all
  })
  await handed.promise
  await relay.stop()
  expect(failures).toEqual([])
  expect((await loginEventLag(db)).waiting).toBe(0)
  expect(await near.openQueue(syncQueueName).getJobCountByTypes('waiting')).toBe(600)
})

test('a relay whose queue does not answer can be stopped before its time is up', async () => {
  await storeSignIns(1)
  const asked = Promise.withResolvers<void>()
  const relay = start(() => {
    asked.resolve()
    return new Promise(() => undefined)
  })
  await asked.promise
  await relay.stop()
  expect((await loginEventLag(database.db)).waiting).toBe(1)
})

/** The same server, from which everything comes so many milliseconds later, and gets there as late; its URL. */
async function openDistance(url: string, ms: number): Promise<string> {
  const { port, hostname } = new URL(url)
  const server = createServer((near) => {
    const far = createConnection(Number(port), hostname)
    for (const [from, to] of [
      [near, far],
      [far, near],
    ] as const) {
      from.on('data', (data) => setTimeout(() => to.write(data), ms))
      from.on('error', () => undefined)
      from.on('close', () => to.destroy())
    }
  }).listen(0, '127.0.0.1')
  closers.push(() => server.close())
  await once(server, 'listening')
  const address = server.address()
  if (address === null || typeof address === 'string') throw new Error('no port')
  const distant = new URL(url)
  distant.port = String(address.port)
  return distant.href
}
