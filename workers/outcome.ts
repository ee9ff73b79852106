import { DelayedError, UnrecoverableError } from 'bullmq'
import { Throttled, toSyncError, type ErrorCode } from '../src/errors.ts'
import { takesOver } from '../src/queue/ahead.ts'
import { parseJobWait, type JobWait, type SyncUserJob } from '../src/queue/catalogue.ts'

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
  answer_too_large: 'fail',
  unexpected_response: 'fail',
  wrong_user: 'fail',
  wrong_tenant: 'fail',
  source_unknown: 'fail',
  group_sync_off: 'fail',
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
  /** As BullMQ has it: see {@link parseJobWait}. */
  progress: unknown
  /** The data as the queue has it by now: a sign-in may have taken the job over since it began. */
  readData: () => Promise<SyncUserJob | undefined>
  updateProgress: (progress: JobWait) => Promise<void>
  moveToDelayed: (timestamp: number, token?: string) => Promise<void>
  /** Ends the delay, with a sign-in's priority. */
  comeForward: () => Promise<void>
}

/**
 * The wait of this attempt; that of an earlier one, or from before the job was replayed, is over. So is that of a job which
 * a sign-in has taken over: it had a resync's turn, or one of another source's app.
 */
export function waitOf(job: Pick<DelayableJob, 'data' | 'attemptsMade' | 'progress'>): JobWait | undefined {
  const wait = parseJobWait(job.progress)
  const { cause, source } = job.data
  return wait?.attempt === job.attemptsMade && wait.cause === cause && wait.source === source
    ? wait
    : undefined
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
  const isForGood = decision === 'fail' && error.code !== 'throttled_too_long'
  // It isn't what it was any more, so it neither waits for the turn that had nor for its next attempt.
  const again = isForGood ? undefined : await againIfTakenOver(job, token)
  if (again) return again
  if (decision === 'delay' && error instanceof Throttled) {
    await delayJob(job, token, error)
    return new DelayedError()
  }
  const message = `${error.code}: ${error.message}`
  return decision === 'fail' ? new UnrecoverableError(message) : new Error(message)
}

/** What to throw so that a job which a sign-in has taken over begins anew, as the sign-in's; undefined for any other. */
export async function againIfTakenOver(
  job: DelayableJob,
  token: string | undefined,
): Promise<DelayedError | undefined> {
  if (!(await isTakenOver(job))) return undefined
  await job.moveToDelayed(Date.now() + 1, token)
  return new DelayedError()
}

/** Whether a sign-in has made the job its own since it began. A queue that can't say so takes nothing else either. */
async function isTakenOver(job: DelayableJob): Promise<boolean> {
  const data = await job.readData().catch(() => undefined)
  return data !== undefined && takesOver(data, job.data)
}

/**
 * The turn is kept with the job, so that any worker can show it. Whoever takes the job over looks for its delay after
 * having said so, hence the second look here after the delay: one of the two sees the other.
 */
async function delayJob(job: DelayableJob, token: string | undefined, error: Throttled): Promise<void> {
  const now = Date.now()
  const { slot } = error
  const { since = now } = waitOf(job) ?? {}
  await job.updateProgress({
    attempt: job.attemptsMade,
    cause: job.data.cause,
    source: job.data.source,
    since,
    ...(slot === undefined ? {} : { slot }),
  })
  await job.moveToDelayed(now + error.retryAfterMs, token)
  // The job is the queue's by now, so a failure costs the sign-in its place and nothing else.
  if (await isTakenOver(job)) await job.comeForward().catch(() => undefined)
}
