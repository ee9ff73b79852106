import { DelayedError, UnrecoverableError } from 'bullmq'
import { Throttled, toSyncError, type ErrorCode } from '../src/errors.ts'
import type { JobWait, SyncUserJob } from '../src/queue/catalogue.ts'

/** What the queue does with a job that ended in an error. */
export type Decision =
  /** Another attempt, with the catalogue's backoff. */
  | 'retry'
  /** Failed for good; stays on the board and can be replayed. */
  | 'fail'
  /** Later, as the answer asked; no attempt is spent. */
  | 'delay'

/** Total over the error codes: a new code without a decision doesn't compile. */
export const decisions: Record<ErrorCode, Decision> = {
  token_rejected: 'fail',
  token_missing: 'fail',
  token_unreadable: 'fail',
  access_denied: 'fail',
  sign_in_denied: 'fail',
  throttled: 'delay',
  throttled_too_long: 'fail',
  graph_unavailable: 'retry',
  unexpected_response: 'fail',
  wrong_user: 'fail',
  wrong_tenant: 'fail',
  user_unknown: 'fail',
  database_failed: 'retry',
  queue_unavailable: 'retry',
  invalid_job: 'fail',
  invalid_login_event: 'fail',
  run_not_held: 'fail',
  config_invalid: 'fail',
  internal: 'retry',
}

/** The part of a BullMQ job that a decision needs. */
export type DelayableJob = {
  data: SyncUserJob
  attemptsMade: number
  /** The data as the queue has it by now: a sign-in may have taken the job over since it began. */
  readData: () => Promise<SyncUserJob | undefined>
  updateData: (data: SyncUserJob) => Promise<void>
  moveToDelayed: (timestamp: number, token?: string) => Promise<void>
}

/** The wait of this attempt; that of an earlier one, or from before the job was replayed, is over. */
export function waitOf(job: Pick<DelayableJob, 'data' | 'attemptsMade'>): JobWait | undefined {
  return job.data.wait?.attempt === job.attemptsMade ? job.data.wait : undefined
}

/**
 * Our error as what BullMQ acts on. The returned error's message is ours alone, since BullMQ keeps message and stack in
 * clear where the board shows them.
 */
export async function toJobError(
  thrown: unknown,
  job: DelayableJob,
  token: string | undefined,
): Promise<Error> {
  const error = toSyncError(thrown)
  const decision = decisions[error.code]
  if (decision === 'delay' && error instanceof Throttled) {
    await delayJob(job, token, error)
    return new DelayedError()
  }
  const message = `${error.code}: ${error.message}`
  return decision === 'fail' ? new UnrecoverableError(message) : new Error(message)
}

/**
 * The turn stands in the job's data, so that any worker can show it. A job that has become a sign-in's meanwhile was
 * promised a resync's turn: it comes back at once and asks for its own.
 */
async function delayJob(job: DelayableJob, token: string | undefined, error: Throttled): Promise<void> {
  const now = Date.now()
  const data = (await job.readData()) ?? job.data
  const isTakenOver = data.cause !== job.data.cause
  const { since = now } = (isTakenOver ? undefined : waitOf(job)) ?? {}
  const slot = isTakenOver ? undefined : error.slot
  await job.updateData({
    ...data,
    wait: { attempt: job.attemptsMade, since, ...(slot === undefined ? {} : { slot }) },
  })
  await job.moveToDelayed(now + (isTakenOver ? 1 : error.retryAfterMs), token)
}
