import type { Job } from 'bullmq'
import { moveAhead } from './ahead.ts'
import type { SyncQueue } from './backend.ts'
import { describeJob, type SyncUserJob } from './catalogue.ts'

/** What giving a job up for another takes. */
export type HandingQueue = Pick<SyncQueue, 'getJob' | 'getDeduplicationJobId' | 'addBulk'>

/** Milliseconds after which a job whose handing over broke off is handed over again. */
const againAfterMs = 60_000

/**
 * A job that is replayed, as the board does, comes back without the deduplication key that it gave up when it ended, so it
 * would run beside another job of its user. Its payload is enqueued anew then, which is deduplicated, and the job is gone:
 * resolves with the id of the one that does the work. Undefined for a job that has its user's key and is to be run.
 *
 * It must not end as others do, since BullMQ begins the next job of a key at the end of any job that once had it, also
 * beside the one that has it now (6.7: requeueDeduplicatedJob). So it is delayed, and removed from there.
 */
export async function handReplayOver(
  queue: HandingQueue,
  job: Pick<Job<SyncUserJob>, 'id' | 'attemptsStarted' | 'deduplicationId' | 'moveToDelayed' | 'remove'>,
  payload: SyncUserJob,
  token: string | undefined,
): Promise<string | undefined> {
  // A replay has been started before; so has a job that was delayed, is retried or was a dead worker's, with its key kept.
  if (job.attemptsStarted <= 1 || job.deduplicationId === undefined) return undefined
  if ((await queue.getDeduplicationJobId(job.deduplicationId)) === job.id) return undefined
  await job.moveToDelayed(Date.now() + againAfterMs, token)
  // It is the queue's by now: whatever breaks off here is done again when its time comes.
  try {
    const added = await queue.addBulk([describeJob('sync-user', payload)])
    await moveAhead(queue, [payload], added)
    await job.remove()
    return added[0]?.id ?? ''
  } catch {
    return ''
  }
}
