import { randomUUID } from 'node:crypto'
import { afterEach, beforeAll, describe, expect, inject, test } from 'vitest'
import { openQueueBackend, type QueueBackend } from '../src/queue/backend.ts'
import { describeJob, parseSyncUserJob, syncQueueName, type SyncUserJob } from '../src/queue/catalogue.ts'
import { createEnqueue } from '../src/queue/enqueue.ts'
import { createTestDatabase, type TestDatabase } from './support/database.ts'
import { startRedisServer } from './support/redis-server.ts'
import { availableBackends } from './support/world.ts'

const job = (userId: string = randomUUID()): SyncUserJob => ({
  userId,
  tenantId: 'tenant',
  source: 'entra-id',
  cause: 'login',
})
const closers: (() => Promise<unknown>)[] = []

afterEach(async () => {
  for (const close of closers.splice(0).toReversed()) await close()
})

test.for([
  ['an access token beside the ids', { ...job(), accessToken: 'eyJ' }],
  ['no user', { ...job(), userId: undefined }],
  ['a cause nobody knows', { ...job(), cause: 'whim' }],
  ['nothing', null],
] as const)('a payload with %s is refused, naming fields and no values', ([, data]) => {
  expect(() => parseSyncUserJob(data)).toThrow(expect.objectContaining({ code: 'invalid_job' }))
  expect(() => parseSyncUserJob(data)).not.toThrow(/eyJ|whim/)
})

describe.each(availableBackends())('with the queue in %s', (kind) => {
  let database: TestDatabase
  const prefix = `{test-${randomUUID()}}`
  const open = async (use: 'producer' | 'worker'): Promise<QueueBackend> => {
    const url = kind === 'redis' ? inject('redisUrl')! : database.url
    const backend = await openQueueBackend({ url, use, prefix })
    closers.push(backend.close)
    return backend
  }

  beforeAll(async () => {
    database = await createTestDatabase()
    return database.close
  })

  test('jobs of one user run one at a time, and logins during a run make exactly one more', async () => {
    const backend = await open('worker')
    await backend.prepare()
    const enqueue = createEnqueue(await open('producer'))
    const userId = randomUUID()
    const started: string[] = []
    let running = 0
    let mostAtOnce = 0
    const gate = Promise.withResolvers<void>()
    const firstRuns = Promise.withResolvers<void>()
    const secondEnded = Promise.withResolvers<void>()
    const worker = backend.openWorker(
      syncQueueName,
      async ({ data, id }) => {
        started.push(String(id))
        running += 1
        mostAtOnce = Math.max(mostAtOnce, running)
        firstRuns.resolve()
        await gate.promise
        running -= 1
        return { userId: data.userId, runId: 'run', outcome: 'applied', startedAt: '' }
      },
      { concurrency: 5 },
    )
    worker.on('completed', () => {
      if (started.length === 2) secondEnded.resolve()
    })
    expect(await enqueue([job(userId)])).toBe(true)
    await firstRuns.promise
    for (let login = 0; login < 5; login += 1) expect(await enqueue([job(userId)])).toBe(true)
    gate.resolve()
    await secondEnded.promise
    expect(started).toHaveLength(2)
    expect(mostAtOnce).toBe(1)
    expect(await backend.openQueue(syncQueueName).getJobCounts('waiting', 'active', 'delayed')).toEqual({
      waiting: 0,
      active: 0,
      delayed: 0,
    })
  })

  test.for([
    ['waits for a worker', undefined],
    ['waits for its turn', 60_000],
  ] as const)(
    'a sign-in that meets a resync of the same user which %s takes its job over',
    async ([, delay]) => {
      const backend = await open('worker')
      await backend.prepare()
      const queue = backend.openQueue(syncQueueName)
      const enqueue = createEnqueue(await open('producer'))
      const userId = randomUUID()
      const resync = describeJob('sync-user', { ...job(userId), cause: 'resync' })
      await queue.add(resync.name, resync.data, { ...resync.opts, ...(delay ? { delay } : {}) })
      const others = Array.from({ length: 3 }, () => ({ ...job(), cause: 'resync' as const }))
      await enqueue(others)
      const loginEventId = randomUUID()
      expect(await enqueue([{ ...job(userId), loginEventId }])).toBe(true)
      const order: unknown[] = []
      const allRun = Promise.withResolvers<void>()
      const worker = backend.openWorker(
        syncQueueName,
        async ({ data }) => {
          order.push(data)
          if (order.length === 4) allRun.resolve()
          return { userId: data.userId, runId: 'run', outcome: 'applied', startedAt: '' }
        },
        { concurrency: 1 },
      )
      await allRun.promise
      expect(order[0]).toEqual({ ...job(userId), loginEventId })
      await worker.close()
    },
  )

  test('a sign-in during the run of a resync makes one more run, and that one is the sign-in’s', async () => {
    const backend = await open('worker')
    await backend.prepare()
    const enqueue = createEnqueue(await open('producer'))
    const userId = randomUUID()
    const causes: string[] = []
    const begun = Promise.withResolvers<void>()
    const gate = Promise.withResolvers<void>()
    const bothRun = Promise.withResolvers<void>()
    const worker = backend.openWorker(
      syncQueueName,
      async ({ data, priority }) => {
        causes.push(`${data.cause} ${priority}`)
        begun.resolve()
        if (causes.length === 2) bothRun.resolve()
        await gate.promise
        return { userId: data.userId, runId: 'run', outcome: 'applied', startedAt: '' }
      },
      { concurrency: 5 },
    )
    await enqueue([{ ...job(userId), cause: 'resync' }])
    await begun.promise
    await enqueue([job(userId)])
    gate.resolve()
    await bothRun.promise
    expect(causes).toEqual(['resync 10', 'login 0'])
    await worker.close()
  })

  test('several processes prepare the same queue at once', async () => {
    const backends = await Promise.all([open('worker'), open('worker'), open('worker')])
    await expect(Promise.all(backends.map((backend) => backend.prepare()))).resolves.toHaveLength(3)
  })

  test('a job keeps to the catalogue: attempts, retention by age, a key for its user', async () => {
    const backend = await open('worker')
    await backend.prepare()
    const payload = job()
    const { name, data, opts } = describeJob('sync-user', payload)
    const added = await backend.openQueue(syncQueueName).add(name, data, opts)
    expect(added.opts).toMatchObject({
      attempts: 5,
      removeOnComplete: { age: 86_400 },
      removeOnFail: { age: 1_209_600 },
    })
    expect(added.deduplicationId).toBe(payload.userId)
    await added.remove()
  })

  test('enqueueing gives up soon when nobody answers, and is not even tried for a moment after that', async () => {
    const url = kind === 'redis' ? 'redis://127.0.0.1:1' : 'postgres://nobody@127.0.0.1:1/none'
    const backend = await openQueueBackend({ url, use: 'producer' })
    closers.push(backend.close)
    const failures: unknown[] = []
    const enqueue = createEnqueue(backend, { timeoutMs: 500, onFailure: (error) => failures.push(error) })
    expect(await enqueue([job()])).toBe(false)
    expect(await enqueue([job()])).toBe(false)
    expect(failures).toHaveLength(1)
  })
})

test('a Redis that may evict keys is refused with the way out, unless told otherwise', async () => {
  const server = await startRedisServer(['--maxmemory-policy', 'allkeys-lru'])
  if (!server) return
  closers.push(server.stop)
  const backend = await openQueueBackend({ url: server.url, use: 'worker' })
  closers.push(backend.close)
  await expect(backend.prepare()).rejects.toMatchObject({
    code: 'config_invalid',
    message: /allkeys-lru.*noeviction.*REDIS_ALLOW_EVICTION/,
  })
  await expect(backend.prepare({ allowEviction: true })).resolves.toBeUndefined()
})

test('a Redis that wants another password is a wrong QUEUE_URL, and the password is not repeated', async () => {
  const server = await startRedisServer(['--requirepass', 'right'])
  if (!server) return
  closers.push(server.stop)
  const wrong = `redis://:wrong-one@${new URL(server.url).host}`
  for (const [url, code] of [
    [wrong, 'WRONGPASS'],
    [server.url, 'NOAUTH'],
  ] as const) {
    const backend = await openQueueBackend({ url, use: 'worker' })
    closers.push(backend.close)
    const prepared = backend.prepare()
    await expect(prepared).rejects.toThrow(new RegExp(`^QUEUE_URL: Redis refuses \\(${code}\\)`))
    await expect(prepared).rejects.not.toThrow(/wrong-one/)
  }
})

test('a queue that takes the connection and then hangs is given up in time', async () => {
  const server = await startRedisServer()
  if (!server) return
  closers.push(server.stop)
  const backend = await openQueueBackend({ url: server.url, use: 'producer' })
  closers.push(backend.close)
  const failures: unknown[] = []
  const enqueue = createEnqueue(backend, {
    timeoutMs: 200,
    pauseMs: 0,
    onFailure: (error) => failures.push(error),
  })
  expect(await enqueue([job()])).toBe(true)
  server.freeze()
  expect(await enqueue([job()])).toBe(false)
  expect(failures).toEqual([expect.objectContaining({ code: 'queue_unavailable' })])
  server.thaw()
})

test('a producer opened while Redis is down enqueues once it is up', async () => {
  const server = await startRedisServer()
  if (!server) return
  const { url } = server
  await server.stop()
  const backend = await openQueueBackend({ url, use: 'producer' })
  closers.push(backend.close)
  const enqueue = createEnqueue(backend, { pauseMs: 20 })
  expect(await enqueue([job()])).toBe(false)
  const again = await startRedisServer(['--port', new URL(url).port])
  closers.push(again!.stop)
  let taken = false
  while (!taken) {
    await new Promise((resolve) => setImmediate(resolve))
    taken = await enqueue([job()])
  }
  expect(taken).toBe(true)
})
