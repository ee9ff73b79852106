import type { Job } from 'bullmq'
import type { SyncQueue } from './backend.ts'
import { describeJob, priorityOf, type SyncUserJob } from './catalogue.ts'

/** States of a job that hasn't begun. */
const notBegun = new Set(['waiting', 'prioritized', 'delayed', 'paused'])

/**
 * Deduplication gives a sign-in the job that its user has already. Where that one is a resync's, or reads through another
 * source, it becomes the sign-in's: with its priority, and without the wait for another's turn. One that runs keeps the
 * sign-in from being a job until it ends, so it is told too: should it have to wait, it waits as the sign-in's.
 *
 * One that has begun meanwhile may have read nobody, since its resync waited for nothing of theirs any more, or with tokens
 * that are dead, and be gone by now. So the queue is asked once more then: that is the one run which follows the job that
 * runs, or a job of its own.
 * @throws where the queue fails meanwhile: it may have no job of the sign-in.
 */
export async function moveAhead(
  queue: Pick<SyncQueue, 'getJob' | 'addBulk'>,
  asked: readonly SyncUserJob[],
  added: readonly { id?: string | undefined }[],
): Promise<void> {
  // Of what is asked for one person the last counts: all of it at once would leave the job to whichever came through last.
  const newest = new Map(
    asked.flatMap((payload, index) => {
      const id = added[index]?.id
      return id === undefined || payload.cause === 'resync'
        ? []
        : [[payload.userId, { id, payload }] as const]
    }),
  )
  const again = await Promise.all(
    [...newest.values()].map(async ({ id, payload }) => {
      // A job can't be written to any more once it has ended.
      const moved = await moveOne(queue, id, payload).catch(() => false)
      return moved ? [] : [describeJob('sync-user', payload)]
    }),
  )
  if (again.flat().length > 0) await queue.addBulk(again.flat())
}

/** Whether what is asked now makes a job its own that was asked for before, instead of being content with it. */
export function takesOver(asked: SyncUserJob, held: SyncUserJob): boolean {
  return asked.cause !== 'resync' && (held.cause === 'resync' || held.source !== asked.source)
}

/**
 * Whether a job of the sign-in's is sure to run. No worker writes a job's data, so whoever runs it finds this: either it
 * reads the data after this was written, or it had delayed the job before, which is then seen here.
 */
async function moveOne(queue: Pick<SyncQueue, 'getJob'>, id: string, payload: SyncUserJob): Promise<boolean> {
  const job = await queue.getJob(id)
  if (!job) return false
  if (!takesOver(payload, job.data)) return true
  const state = await job.getState()
  if (state !== 'active' && !notBegun.has(state)) return false
  await job.updateData(payload)
  await comeForward(job)
  // Looked at last: who took it before the data was written has begun it by now.
  return notBegun.has(await job.getState())
}

/** A job that is a sign-in's by now takes a sign-in's place; where it was to come later, it comes now. */
export async function comeForward(
  job: Pick<Job<SyncUserJob>, 'priority' | 'changePriority' | 'getState' | 'promote'>,
): Promise<void> {
  const priority = priorityOf({ cause: 'login' })
  // One that has it would lose its place to those who came later.
  if (job.priority !== priority) await job.changePriority({ priority })
  if ((await job.getState()) === 'delayed') await job.promote()
}
