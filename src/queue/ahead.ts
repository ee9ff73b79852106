import type { Job } from 'bullmq'
import type { SyncQueue } from './backend.ts'
import { priorityOf, type SyncUserJob } from './catalogue.ts'

/** States of a job that hasn't begun. */
const notBegun = new Set(['waiting', 'prioritized', 'delayed', 'paused'])

/**
 * Deduplication gives a sign-in the job that its user has already. Where that one is a resync's, it becomes the sign-in's:
 * with its priority, and without the wait for a resync's turn. One that begins meanwhile began after the sign-in, so it
 * serves as well. One that runs keeps the sign-in from being a job until it ends, so it is told too: should it have to
 * wait, it waits as the sign-in's.
 */
export async function moveAhead(
  queue: Pick<SyncQueue, 'getJob'>,
  asked: readonly SyncUserJob[],
  added: readonly { id?: string | undefined }[],
): Promise<void> {
  const moved = asked.flatMap((payload, index) => {
    const id = added[index]?.id
    return id === undefined || payload.cause === 'resync' ? [] : [moveOne(queue, id, payload)]
  })
  // The queue has the jobs by now, so a failure costs a sign-in its place and nothing else.
  await Promise.allSettled(moved)
}

/**
 * No worker writes a job's data, so whoever runs it finds this: either it reads the data after this was written, or it had
 * delayed the job before, which is then seen here.
 */
async function moveOne(queue: Pick<SyncQueue, 'getJob'>, id: string, payload: SyncUserJob): Promise<void> {
  const job = await queue.getJob(id)
  if (job?.data.cause !== 'resync') return
  const state = await job.getState()
  if (state !== 'active' && !notBegun.has(state)) return
  await job.updateData(payload)
  await comeForward(job)
}

/** A job that is a sign-in's by now takes a sign-in's place; where it was to come later, it comes now. */
export async function comeForward(
  job: Pick<Job<SyncUserJob>, 'changePriority' | 'getState' | 'promote'>,
): Promise<void> {
  await job.changePriority({ priority: priorityOf({ cause: 'login' }) })
  if ((await job.getState()) === 'delayed') await job.promote()
}
