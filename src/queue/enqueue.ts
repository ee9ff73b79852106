import { SyncError } from '../errors.ts'
import { within } from '../within.ts'
import { moveAhead } from './ahead.ts'
import type { QueueBackend, SyncQueue } from './backend.ts'
import { describeJob, syncQueueName, type SyncUserJob } from './catalogue.ts'

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
  const { timeoutMs = 1000, pauseMs = 2000, onFailure } = options
  let queue: SyncQueue | undefined
  let pausedUntil = 0
  return async (jobs) => {
    if (performance.now() < pausedUntil) return false
    const open = (queue ??= backend.openQueue(syncQueueName))
    try {
      const added = open
        .addBulk(jobs.map((job) => describeJob('sync-user', job)))
        .then((taken) => moveAhead(open, jobs, taken))
      let refusal: unknown = new SyncError(
        'queue_unavailable',
        `the queue did not answer within ${timeoutMs} ms`,
      )
      added.catch((error: unknown) => (refusal = error))
      if (!(await within(timeoutMs, added))) throw refusal
      return true
    } catch (error) {
      pausedUntil = performance.now() + pauseMs
      void open.close().catch(() => undefined)
      queue = undefined
      onFailure?.(error)
      return false
    }
  }
}
