import { SyncError } from '../errors.ts'
import { within } from '../within.ts'
import { moveAhead } from './ahead.ts'
import type { Closable, QueueBackend } from './backend.ts'
import {
  describeBatch,
  describeJob,
  describeStart,
  syncQueueName,
  type StartResyncJob,
  type SyncBatchJob,
  type SyncUserJob,
} from './catalogue.ts'

/** Resolves true once the queue has the jobs, false if it didn't take them in time. Never rejects. */
export type Enqueue = (jobs: readonly SyncUserJob[]) => Promise<boolean>

export type EnqueueOptions = {
  /** Milliseconds to wait for the queue; default 1,000. */
  timeoutMs?: number
  /** Milliseconds for which a queue that failed isn't asked again, so that sign-ins don't queue up behind it; default 2,000. */
  pauseMs?: number
  onFailure?: (error: unknown) => void
}

/**
 * Enqueueing that a sign-in can afford: bounded in time, and not tried at all for a moment after it failed. BullMQ
 * remembers a failed first connection for good, so the queue is opened anew after a failure.
 */
export function createEnqueue(backend: QueueBackend, options: EnqueueOptions = {}): Enqueue {
  const add = createBounded(backend, () => backend.openQueue(syncQueueName), options)
  return async (jobs) =>
    await add(async (queue) => {
      const taken = await queue.addBulk(jobs.map((job) => describeJob('sync-user', job)))
      await moveAhead(queue, jobs, taken)
    })
}

/** The same for jobs of many people. */
export function createBatchEnqueue(
  backend: QueueBackend,
  options: EnqueueOptions = {},
): (jobs: readonly SyncBatchJob[]) => Promise<boolean> {
  const add = createBounded(backend, () => backend.openBatchQueue(), options)
  return async (jobs) => await add(async (queue) => await queue.addBulk(jobs.map(describeBatch)))
}

/** The same for what begins a resync. */
export function createStartEnqueue(
  backend: QueueBackend,
  options: EnqueueOptions = {},
): (job: StartResyncJob) => Promise<boolean> {
  const add = createBounded(backend, () => backend.openResyncQueue(), options)
  return async (job) => {
    const { name, data, opts } = describeStart(job)
    return await add(async (queue) => await queue.add(name, data, opts))
  }
}

function createBounded<Open extends Closable>(
  backend: Pick<QueueBackend, 'discard'>,
  openQueue: () => Open,
  { timeoutMs = 1000, pauseMs = 2000, onFailure }: EnqueueOptions,
): (work: (queue: Open) => Promise<unknown>) => Promise<boolean> {
  let queue: Open | undefined
  let pausedUntil = 0
  return async (work) => {
    if (performance.now() < pausedUntil) return false
    const open = (queue ??= openQueue())
    try {
      const added = work(open)
      let refusal: unknown = new SyncError(
        'queue_unavailable',
        `the queue did not answer within ${timeoutMs} ms`,
      )
      added.catch((error: unknown) => (refusal = error))
      if (!(await within(timeoutMs, added))) throw refusal
      return true
    } catch (error) {
      pausedUntil = performance.now() + pauseMs
      backend.discard(open)
      queue = undefined
      onFailure?.(error)
      return false
    }
  }
}
