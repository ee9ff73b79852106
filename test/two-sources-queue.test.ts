import { randomUUID } from 'node:crypto'
import { afterEach, beforeAll, describe, expect, inject, test } from 'vitest'
import { Throttled } from '../src/errors.ts'
import { moveAhead } from '../src/queue/ahead.ts'
import { openQueueBackend, type QueueBackend, type SyncProcessor } from '../src/queue/backend.ts'
import { describeJob, syncQueueName, type SyncUserJob } from '../src/queue/catalogue.ts'
import { createEnqueue } from '../src/queue/enqueue.ts'
import { toJobError } from '../workers/outcome.ts'
import { delayable } from '../workers/sync-user.ts'
import { createTestDatabase, type TestDatabase } from './support/database.ts'
import { availableBackends } from './support/world.ts'

const closers: (() => Promise<unknown>)[] = []

afterEach(async () => {
  for (const close of closers.splice(0).toReversed()) await close()
})

const signIn = (userId: string, source: string): SyncUserJob => ({
  userId,
  tenantId: 'tenant',
  source,
  cause: 'login',
  loginEventId: randomUUID(),
})
const ended = (userId: string) => ({ userId, runId: 'run', outcome: 'applied', startedAt: '' })

describe.each(availableBackends())('with the queue in %s', (kind) => {
  let database: TestDatabase
  const prefix = `{test-${randomUUID()}}`
  const open = async (use: 'producer' | 'worker'): Promise<QueueBackend> => {
    const url = kind === 'redis' ? inject('redisUrl')! : database.url
    const backend = await openQueueBackend({ url, use, prefix })
    closers.push(backend.close)
    return backend
  }
  const start = async () => {
    const backend = await open('worker')
    await backend.prepare()
    const queue = backend.openQueue(syncQueueName)
    await queue.obliterate({ force: true })
    const enqueue = createEnqueue(await open('producer'))
    /** Runs jobs one at a time; resolves with what they carried once there is nothing left to do. */
    const runAll = async (processor: SyncProcessor = async ({ data }) => ended(data.userId)) => {
      const taken: SyncUserJob[] = []
      const drained = Promise.withResolvers<void>()
      const worker = backend.openWorker(
        syncQueueName,
        async (job, token) => {
          taken.push(job.data)
          return await processor(job, token)
        },
        { concurrency: 1 },
      )
      const look = async () => {
        const left = await queue.getJobCountByTypes('waiting', 'prioritized', 'delayed', 'active')
        if (left === 0) drained.resolve()
      }
      worker.on('completed', () => void look())
      await drained.promise
      await worker.close()
      return taken
    }
    return { queue, enqueue, runAll }
  }

  beforeAll(async () => {
    database = await createTestDatabase()
    return database.close
  })

  test.for([
    ['waits for a worker', undefined],
    ['waits for its turn', 3_600_000],
  ] as const)(
    'a sign-in takes over the job of an earlier one through another source which %s',
    async ([, delay]) => {
      const { queue, enqueue, runAll } = await start()
      const userId = randomUUID()
      const { name, data, opts } = describeJob('sync-user', signIn(userId, 'alpha'))
      await queue.add(name, data, { ...opts, ...(delay ? { delay } : {}) })
      const newest = signIn(userId, 'beta')
      expect(await enqueue([newest])).toBe(true)
      expect(await runAll()).toEqual([newest])
    },
  )

  test('a sign-in through another source keeps the place of the job that it takes over', async () => {
    const { enqueue, runAll } = await start()
    const userId = randomUUID()
    const other = signIn(randomUUID(), 'alpha')
    const newest = signIn(userId, 'beta')
    await enqueue([signIn(userId, 'alpha')])
    await enqueue([other])
    await enqueue([newest])
    expect(await runAll()).toEqual([newest, other])
  })

  test('of two sign-ins through two sources that are enqueued together the later one is run', async () => {
    const { enqueue, runAll } = await start()
    const userId = randomUUID()
    const newest = signIn(userId, 'beta')
    await enqueue([signIn(userId, 'alpha'), newest])
    expect(await runAll()).toEqual([newest])
  })

  test('of two sign-ins that are given a job of a third source together only the later one asks for it', async () => {
    const { queue, enqueue, runAll } = await start()
    const userId = randomUUID()
    const newest = signIn(userId, 'beta')
    await enqueue([signIn(userId, 'gamma')])
    const id = (await queue.getDeduplicationJobId(userId)) ?? ''
    let asked = 0
    const getJob = async (jobId: string) => {
      asked += 1
      return await queue.getJob(jobId)
    }
    await moveAhead(
      { getJob, addBulk: queue.addBulk.bind(queue) },
      [signIn(userId, 'alpha'), newest],
      [{ id }, { id }],
    )
    expect(asked).toBe(1)
    expect(await runAll()).toEqual([newest])
  })

  test('a resync of another source leaves a sign-in the job that waits', async () => {
    const { enqueue, runAll } = await start()
    const waiting = signIn(randomUUID(), 'alpha')
    await enqueue([waiting])
    await enqueue([{ ...waiting, source: 'beta', cause: 'resync', loginEventId: undefined }])
    expect(await runAll()).toEqual([waiting])
  })

  test('sign-ins through two sources during a run make one more run, through the source of the newest', async () => {
    const { enqueue, runAll } = await start()
    const userId = randomUUID()
    const first = signIn(userId, 'alpha')
    const newest = signIn(userId, 'beta')
    await enqueue([first])
    let during = async () => {
      await enqueue([signIn(userId, 'beta')])
      await enqueue([signIn(userId, 'alpha')])
      await enqueue([newest])
    }
    const taken = await runAll(async () => {
      await during()
      during = async () => undefined
      return ended(userId)
    })
    expect(taken).toEqual([first, newest])
  })

  test('a sign-in through another source does not wait for the turn of the run that it meets', async () => {
    const { enqueue, runAll } = await start()
    const userId = randomUUID()
    const first = signIn(userId, 'alpha')
    const newest = signIn(userId, 'beta')
    await enqueue([first])
    let runs = 0
    const { queue } = await openForReading()
    const taken = await runAll(async (job, token) => {
      runs += 1
      if (runs > 1) return ended(userId)
      await enqueue([newest])
      throw await toJobError(new Throttled(3_600_000, 'a turn far away'), delayable(queue, job), token)
    })
    expect(taken.slice(0, 2)).toEqual([first, newest])
  })

  const openForReading = async () => ({ queue: (await open('worker')).openQueue(syncQueueName) })
})
