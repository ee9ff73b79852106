import { DelayedError, type Job } from 'bullmq'
import type { Log } from '../src/log.ts'
import { toSyncError } from '../src/errors.ts'
import type { BatchProcessor } from '../src/queue/backend.ts'
import { parseSyncBatchJob, type JobWait, type SyncBatchJob } from '../src/queue/catalogue.ts'
import { syncBatch, type BatchParts } from '../src/sync-batch.ts'
import { toJobError, waitOf, type DelayableJob } from './outcome.ts'

/** Runs `sync-batch` jobs: one log line a batch. Each of its people has a run of their own. */
export function createSyncBatchProcessor(parts: BatchParts, log: Log): BatchProcessor {
  return async (job, token, signal) => {
    const begun = performance.now()
    const facts = () => ({
      job: job.id,
      attempt: job.attemptsMade + 1,
      ms: Math.round(performance.now() - begun),
    })
    try {
      const payload = parseSyncBatchJob(job.data)
      const end = await syncBatch(parts, payload, { signal, slot: waitOf(delayable(job))?.slot })
      log.info(
        { ...facts(), resync: payload.resyncId, people: payload.userIds.length, ...end },
        'batch ended',
      )
      return end
    } catch (thrown) {
      const error = toSyncError(thrown)
      const jobError = await toJobError(error, delayable(job), token)
      const line = { ...facts(), errorCode: error.code, error: error.message, requestId: error.requestId }
      if (jobError instanceof DelayedError) log.info(line, 'batch delayed')
      else log.warn(line, 'batch failed; the resync asks for its people again')
      throw jobError
    }
  }
}

/** A batch is a resync's for good: no sign-in takes it over. */
function delayable(job: Job<SyncBatchJob, Record<string, number>>): DelayableJob {
  const data = { ...job.data, userId: '', cause: 'resync' as const }
  return {
    data,
    attemptsMade: job.attemptsMade,
    progress: job.progress,
    readData: async () => data,
    updateProgress: async (progress: JobWait) => await job.updateProgress(progress),
    moveToDelayed: async (timestamp, token) => await job.moveToDelayed(timestamp, token),
    comeForward: async () => undefined,
  }
}
