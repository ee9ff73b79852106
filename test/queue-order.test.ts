import { randomUUID } from 'node:crypto'
import { afterEach, beforeAll, describe, expect, inject, test } from 'vitest'
import { Throttled } from '../src/errors.ts'
import { openQueueBackend, type QueueBackend, type SyncProcessor } from '../src/queue/backend.ts'
import { moveAhead } from '../src/queue/ahead.ts'
import { syncQueueName, type SyncUserJob } from '../src/queue/catalogue.ts'
import { createEnqueue, type Enqueue } from '../src/queue/enqueue.ts'
import { toJobError, type DelayableJob } from '../workers/outcome.ts'
import { delayable } from '../workers/sync-user.ts'
import { createTestDatabase, type TestDatabase } from './support/database.ts'
import { availableBackends } from './support/world.ts'

const closers: (() => Promise<unknown>)[] = []

afterEach(async () => {
  for (const close of closers.splice(0).toReversed()) await close()
})

const job = (userId: string, more: Partial<SyncUserJob> = {}): SyncUserJob => ({
  userId,
  tenantId: 'tenant',
  source: 'entra-id',
  cause: 'login',
  ...more,
})
const ended = { runId: 'run', outcome: 'applied', startedAt: '' }

/** The job, with something else happening just before or just after one of its steps. */
const steps = {
  'before its worker looks who has it': (one, meanwhile) => ({
    ...one,
    readData: once(meanwhile, one.readData),
  }),
  'after its worker looked who has it': (one, meanwhile) => ({
    ...one,
    updateProgress: async (wait) => {
      await meanwhile()
      await one.updateProgress(wait)
    },
  }),
  'just before its delay': (one, meanwhile) => ({
    ...one,
    moveToDelayed: async (...asked) => {
      await meanwhile()
      await one.moveToDelayed(...asked)
    },
  }),
  'just after its delay': (one, meanwhile) => ({
    ...one,
    moveToDelayed: async (...asked) => {
      await one.moveToDelayed(...asked)
      await meanwhile()
    },
  }),
} satisfies Record<string, (one: DelayableJob, meanwhile: () => Promise<unknown>) => DelayableJob>

function once<Result>(meanwhile: () => Promise<unknown>, step: () => Promise<Result>) {
  let done = false
  return async () => {
    if (!done) await meanwhile()
    done = true
    return await step()
  }
}

describe.each(availableBackends())('with the queue in %s', (kind) => {
  let database: TestDatabase
  const prefix = `{test-${randomUUID()}}`
  const open = async (use: 'producer' | 'worker'): Promise<QueueBackend> => {
    const url = kind === 'redis' ? inject('redisUrl')! : database.url
    const backend = await openQueueBackend({ url, use, prefix })
    closers.push(backend.close)
    return backend
  }
  const start = async (processor: (backend: QueueBackend, enqueue: Enqueue) => SyncProcessor) => {
    const backend = await open('worker')
    await backend.prepare()
    const queue = backend.openQueue(syncQueueName)
    // The test before leaves the one more run that its sign-in asked for.
    await queue.obliterate({ force: true })
    const enqueue = createEnqueue(await open('producer'))
    const worker = backend.openWorker(syncQueueName, processor(backend, enqueue), { concurrency: 5 })
    return { enqueue, worker, queue }
  }

  beforeAll(async () => {
    database = await createTestDatabase()
    return database.close
  })

  const causes = ['login', 'approve', 'manual'] as const
  const orders = Object.entries(steps).flatMap(([when, at]) =>
    causes.map((cause) => [cause, when, at] as const),
  )

  test.for(orders)(
    'a job of cause %s that comes %s does not wait for the turn of a resync',
    async ([cause, , at]) => {
      const userId = randomUUID()
      const loginEventId = randomUUID()
      const started: object[] = []
      const secondRun = Promise.withResolvers<void>()
      const { enqueue, worker } = await start((backend, signIn) => async (one, token) => {
        started.push({ cause: one.data.cause, event: one.data.loginEventId, priority: one.priority })
        if (started.length === 1) {
          const held = delayable(backend.openQueue(syncQueueName), one)
          const meanwhile = async () => await signIn([job(userId, { cause, loginEventId })])
          throw await toJobError(new Throttled(3_600_000, 'a turn far away'), at(held, meanwhile), token)
        }
        secondRun.resolve()
        return { userId, ...ended }
      })
      await enqueue([job(userId, { cause: 'resync' })])
      await secondRun.promise
      await worker.close()
      expect(started[1]).toEqual({ cause, event: loginEventId, priority: 0 })
    },
  )

  test('a resync that comes while its user is read does not take the place of the sign-in that waits for the end', async () => {
    const userId = randomUUID()
    const loginEventId = randomUUID()
    const started: object[] = []
    const begun = Promise.withResolvers<void>()
    const gate = Promise.withResolvers<void>()
    const secondRun = Promise.withResolvers<void>()
    const { enqueue, worker, queue } = await start(() => async (one) => {
      started.push({ cause: one.data.cause, event: one.data.loginEventId, priority: one.priority })
      begun.resolve()
      if (started.length === 2) secondRun.resolve()
      await gate.promise
      return { userId, ...ended }
    })
    await enqueue([job(userId)])
    await begun.promise
    await enqueue([job(userId, { loginEventId })])
    await enqueue([job(userId, { cause: 'resync' })])
    gate.resolve()
    await secondRun.promise
    await worker.close()
    expect(started[1]).toEqual({ cause: 'login', event: loginEventId, priority: 0 })
    expect(await queue.getJobCounts('waiting', 'prioritized', 'delayed')).toEqual({
      waiting: 0,
      prioritized: 0,
      delayed: 0,
    })
  })

  test.for([['has begun'], ['is gone']] as const)(
    'a sign-in that was given the job of a resync has a run, though that job %s and may have read nobody',
    async ([how]) => {
      const userId = randomUUID()
      const taken: string[] = []
      const begun = Promise.withResolvers<void>()
      const gate = Promise.withResolvers<void>()
      const over = Promise.withResolvers<void>()
      const secondRun = Promise.withResolvers<void>()
      const { enqueue, worker, queue } = await start(() => async (one) => {
        taken.push(one.data.cause)
        if (taken.length === 2) secondRun.resolve()
        begun.resolve()
        await gate.promise
        return { userId, runId: '', outcome: 'skipped', startedAt: '' }
      })
      worker.on('completed', () => over.resolve())
      await enqueue([job(userId, { cause: 'resync' })])
      await begun.promise
      // Deduplication gave the sign-in this one before it had begun.
      const id = await queue.getDeduplicationJobId(userId)
      if (how === 'is gone') {
        gate.resolve()
        await over.promise
      }
      await moveAhead(queue, [job(userId)], [{ id: id ?? '' }])
      gate.resolve()
      await secondRun.promise
      await worker.close()
      expect(taken).toEqual(['resync', 'login'])
    },
  )

  test('a resync that comes while its user is read makes no run of its own', async () => {
    const userId = randomUUID()
    const begun = Promise.withResolvers<void>()
    const gate = Promise.withResolvers<void>()
    const { enqueue, worker, queue } = await start(() => async () => {
      begun.resolve()
      await gate.promise
      return { userId, ...ended }
    })
    await enqueue([job(userId)])
    await begun.promise
    await enqueue([job(userId, { cause: 'resync' })])
    gate.resolve()
    await worker.close()
    expect(await queue.getJobCounts('waiting', 'prioritized', 'delayed', 'active')).toEqual({
      waiting: 0,
      prioritized: 0,
      delayed: 0,
      active: 0,
    })
  })
})
