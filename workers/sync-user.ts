import { DelayedError, UnrecoverableError, type Job } from 'bullmq'
import type { Log } from '../src/log.ts'
import { toSyncError } from '../src/errors.ts'
import { comeForward } from '../src/queue/ahead.ts'
import type { SyncProcessor, SyncQueue, SyncUserResult } from '../src/queue/backend.ts'
import { parseSyncUserJob, type SyncUserJob } from '../src/queue/catalogue.ts'
import { handReplayOver, type HandingQueue } from '../src/queue/replay.ts'
import { syncUser, type SyncParts } from '../src/sync.ts'
import { againIfTakenOver, decisions, toJobError, waitOf, type DelayableJob } from './outcome.ts'

/** Runs `sync-user` jobs: one log line a job at its end, an error once, at the attempt after which none follows. */
export function createSyncUserProcessor(parts: SyncParts & { queue: HandingQueue }, log: Log): SyncProcessor {
  return async (job, token, signal) => {
    const begun = performance.now()
    const facts = () => ({
      job: job.id,
      userId: job.deduplicationId,
      attempt: job.attemptsMade + 1,
      ms: Math.round(performance.now() - begun),
    })
    try {
      const payload = parseSyncUserJob(job.data)
      const jobId = await handReplayOver(parts.queue, job, payload, token)
      if (jobId !== undefined) {
        log.info({ ...facts(), by: jobId }, 'replayed job handed over')
        throw new DelayedError()
      }
      const wait = waitOf(job)
      const { run, outcome, counts, deletions, error } = await syncUser(parts, payload, {
        signal,
        slot: wait?.slot,
        waitedMs: wait ? Date.now() - wait.since : 0,
        isRetried: ({ code }) => decisions[code] === 'retry' && !isLastAttempt(job),
      })
      // No run was made, and whoever signed in while it waited to begin is owed one.
      const again =
        outcome === 'skipped' ? await againIfTakenOver(delayable(parts.queue, job), token) : undefined
      if (again) throw again
      log.info(
        { ...facts(), runId: run.id, outcome, ...counts, deletions, ...reason(error) },
        'sync run ended',
      )
      return { userId: run.userId, runId: run.id, outcome, startedAt: run.startedAt }
    } catch (thrown) {
      if (thrown instanceof DelayedError) throw thrown
      const jobError = await toJobError(thrown, delayable(parts.queue, job), token)
      logFailure(log, job, facts(), thrown, jobError)
      throw jobError
    }
  }
}

/** The job as its worker holds it, beside what the queue has of it by now. */
export function delayable(
  queue: Pick<SyncQueue, 'getJob'>,
  job: Job<SyncUserJob, SyncUserResult>,
): DelayableJob {
  const asStored = async () => (job.id === undefined ? undefined : await queue.getJob(job.id))
  return {
    data: job.data,
    attemptsMade: job.attemptsMade,
    progress: job.progress,
    readData: async () => (await asStored())?.data,
    updateProgress: async (progress) => await job.updateProgress(progress),
    moveToDelayed: async (timestamp, token) => await job.moveToDelayed(timestamp, token),
    comeForward: async () => {
      const stored = await asStored()
      if (stored) await comeForward(stored)
    },
  }
}

function logFailure(
  log: Log,
  job: Job<SyncUserJob, SyncUserResult>,
  facts: object,
  thrown: unknown,
  jobError: Error,
): void {
  const error = toSyncError(thrown)
  const line = { ...facts, outcome: 'failed', ...reason(error) }
  const lastAttempt = jobError instanceof UnrecoverableError || isLastAttempt(job)
  if (jobError instanceof DelayedError) log.info({ ...line, outcome: 'delayed' }, 'sync run delayed')
  else if (lastAttempt) log.error({ ...line, err: error.cause ?? error }, 'sync run failed')
  else log.info(line, 'sync run will be tried again')
}

function reason(error: { code: string; message: string; requestId: string | undefined } | undefined) {
  return error ? { errorCode: error.code, error: error.message, requestId: error.requestId } : {}
}

function isLastAttempt(job: Job<SyncUserJob, SyncUserResult>): boolean {
  return job.attemptsMade + 1 >= (job.opts.attempts ?? 1)
}
