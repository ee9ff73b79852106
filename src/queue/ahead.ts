import type { SyncQueue } from './backend.ts'
import { priorityOf, type SyncUserJob } from './catalogue.ts'

/** States of a job that hasn't begun. */
const notBegun = new Set(['waiting', 'prioritized', 'delayed', 'paused'])

/**
 * Deduplication gives a sign-in the job that waits for its user already. Where that one is a resync's, it becomes the
 * sign-in's: with its priority, and without the wait for a resync's turn. One that begins meanwhile began after the
 * sign-in, so it serves as well.
 */
export async function moveAhead(
  queue: SyncQueue,
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

async function moveOne(queue: SyncQueue, id: string, payload: SyncUserJob): Promise<void> {
  const job = await queue.getJob(id)
  if (job?.data.cause !== 'resync') return
  const state = await job.getState()
  if (!notBegun.has(state)) return
  await job.updateData(payload)
  await job.changePriority({ priority: priorityOf(payload) })
  if (state === 'delayed') await job.promote()
}
