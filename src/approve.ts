import { setTimeout as delay } from 'node:timers/promises'
import { approveRun, findRunSince, type StoredRun } from '../db/sync-runs.ts'
import { databaseNow } from '../db/wave.ts'
import type { Context } from './context.ts'
import { SyncError } from './errors.ts'
import { createEnqueue } from './queue/enqueue.ts'

/** Milliseconds between two looks for the run that follows. */
const lookEvery = 200

/**
 * Agrees to what a held run held back and has the person read again: what Graph says then is applied, unless it would
 * remove more than was agreed to. The agreement is stored with the run, so it holds whichever job comes to run next.
 * Resolves with the run that followed, or undefined where none has ended in time.
 * @throws {SyncError} `run_not_held`: no such run, it held nothing, or a later run of that person applied cleanly.
 */
export async function approveHeldRun(
  context: Context,
  runId: string,
  waitMs: number,
): Promise<StoredRun | undefined> {
  const { db, producer } = context
  const since = await databaseNow(db)
  const held = await approveRun(db, runId)
  if (!held) {
    throw new SyncError(
      'run_not_held',
      `run ${runId} holds nothing: there is no such run, or a later one applied cleanly`,
    )
  }
  const { userId, tenantId, source } = held
  const enqueue = createEnqueue(producer)
  if (!(await enqueue([{ userId, tenantId, source, cause: 'approve' }]))) {
    throw new SyncError(
      'queue_unavailable',
      'the approval is stored, but the queue took no job: the next sign-in carries it out',
    )
  }
  const timeUp = AbortSignal.timeout(waitMs)
  for (;;) {
    const run = await findRunSince(db, userId, since)
    if (run || timeUp.aborted) return run
    await delay(lookEvery)
  }
}
