import { hash } from 'node:crypto'
import type { JobsOptions } from 'bullmq'
import { z } from 'zod'
import { SyncError } from '../errors.ts'

/** Why a run happens. */
export const runCauses = ['login', 'resync', 'manual', 'approve'] as const

/** "Bring this user up to date." Ids only: job data is clear text in Redis, and on a delayed job it may be old. */
const syncUser = z.strictObject({
  userId: z.uuid(),
  tenantId: z.string().max(64),
  source: z.string().max(64),
  cause: z.enum(runCauses),
  loginEventId: z.uuid().optional(),
  resyncId: z.uuid().optional(),
})

export type SyncUserJob = z.output<typeof syncUser>

/**
 * How far a job is that waits for its turn at Graph. It is kept as the job's progress, beside the data: that is for those
 * who enqueue, this for the worker, so that neither overwrites what the other says meanwhile.
 */
const jobWait = z.strictObject({
  /** Whose wait it is: that attempt's only, and of the cause and source that the job had then. */
  attempt: z.int(),
  cause: z.enum(runCauses),
  source: z.string().max(64),
  /** When it began, in milliseconds since 1970 by a worker's clock. */
  since: z.number(),
  /** The turn that the tenant's budget for that source's app has promised. */
  slot: z.strictObject({ at: z.number(), generation: z.int() }).optional(),
})

export type JobWait = z.output<typeof jobWait>

/** What is no wait, as before the first one, is undefined. */
export function parseJobWait(progress: unknown): JobWait | undefined {
  return jobWait.safeParse(progress).data
}

const day = 86_400

/**
 * Every kind of job there is: what it carries and how the queue treats it. Names are stored in Redis and outlive
 * refactors. Retention is by age only, because `count` is slow on the Postgres backend. What a resync's job leaves when it
 * completes is nothing.
 */
export const catalogue = {
  'sync-user': {
    queue: 'sync',
    payload: syncUser,
    attempts: 5,
    /** Exponential with full jitter: between 0 and 2 s, 4 s, 8 s, 16 s. What takes longer to mend the relay brings back. */
    backoff: { type: 'exponential', delay: 2000, jitter: 1 },
    retention: { completedSeconds: day, failedSeconds: 14 * day },
    /** One job a user at a time. */
    deduplicationKey: (job: SyncUserJob) => job.userId,
    /**
     * An event during a run makes exactly one more run, the last event's. A resync that meets a run has what it wants, and
     * must not take the place of a sign-in that waits for the run's end.
     */
    oneMoreRun: (job: SyncUserJob) => job.cause !== 'resync',
  },
} as const

/** BullMQ takes jobs without a priority first, so that nobody who signs in waits behind a resync. */
export function priorityOf(job: Pick<SyncUserJob, 'cause'>): number {
  return job.cause === 'resync' ? 10 : 0
}

/** "Begin a resync of this source", for a schedule, or because Graph has told of a change. */
const startResync = z.strictObject({
  source: z.string().max(64),
  mode: z.enum(['full', 'delta']),
  cause: z.enum(['schedule', 'notified']).default('schedule'),
})

export type StartResyncJob = z.input<typeof startResync>

/** "Bring these people up to date, with a token of the app itself." */
const syncBatch = z.strictObject({
  userIds: z.array(z.uuid()).min(1).max(20),
  tenantId: z.string().max(64),
  source: z.string().max(64),
  resyncId: z.uuid(),
  /** When the last of them was taken. */
  takenAt: z.string().max(40).optional(),
})

export type SyncBatchJob = z.output<typeof syncBatch>

/** Apart from the jobs of single people: no sign-in waits for one. */
export const batchQueueName = 'sync-batch'

/**
 * The job as BullMQ takes it. The same people of the same resync are one job, however often it is asked for; some of them
 * with others are another one, or those others would have none. So are the same people once they are taken anew: a job that
 * reads them by then has begun too early.
 */
export function describeBatch(payload: SyncBatchJob) {
  const { attempts, backoff, retention } = catalogue['sync-user']
  return {
    name: 'sync-batch',
    data: syncBatch.parse(payload),
    opts: {
      attempts,
      backoff,
      removeOnComplete: true,
      removeOnFail: { age: retention.failedSeconds },
      deduplication: {
        id: hash('sha256', [payload.resyncId, payload.takenAt, ...payload.userIds].join(' ')),
      },
    },
  }
}

/** @throws {SyncError} `invalid_job`. */
export function parseSyncBatchJob(data: unknown): SyncBatchJob {
  const parsed = syncBatch.safeParse(data)
  if (parsed.success) return parsed.data
  throw new SyncError('invalid_job', 'payload of sync-batch does not fit')
}

/** Schedules are kept here, apart from people's jobs: it is they, not the jobs, that outlive a worker. */
export const resyncQueueName = 'resync'

/** Within two hours and a quarter; that of everybody comes once a day, and must outlive an outage of the database. */
const attemptsToStart = { full: 13, delta: 5 } as const

/** The job as BullMQ takes it, from a schedule or at once. */
export function describeStart(payload: StartResyncJob) {
  return {
    name: 'start-resync',
    data: payload,
    opts: {
      attempts: attemptsToStart[payload.mode],
      backoff: { type: 'exponential', delay: 2000, jitter: 1 },
      removeOnComplete: { age: day },
      removeOnFail: { age: 14 * day },
    },
  } as const
}

/** @throws {SyncError} `invalid_job`. */
export function parseStartResyncJob(data: unknown): z.output<typeof startResync> {
  const parsed = startResync.safeParse(data)
  if (parsed.success) return parsed.data
  throw new SyncError('invalid_job', 'payload of start-resync does not fit')
}

export type JobName = keyof typeof catalogue

export const syncQueueName = catalogue['sync-user'].queue

export type QueuedJob = { name: JobName; data: SyncUserJob; opts: JobsOptions }

/** The job as BullMQ takes it, by the catalogue. */
export function describeJob(name: JobName, payload: SyncUserJob): QueuedJob {
  const kind = catalogue[name]
  return {
    name,
    data: kind.payload.parse(payload),
    opts: {
      attempts: kind.attempts,
      backoff: kind.backoff,
      // The resync's record tells of its runs: jobs of everybody there is would only fill the queue.
      removeOnComplete: payload.cause === 'resync' ? true : { age: kind.retention.completedSeconds },
      removeOnFail: { age: kind.retention.failedSeconds },
      priority: priorityOf(payload),
      deduplication: { id: kind.deduplicationKey(payload), keepLastIfActive: kind.oneMoreRun(payload) },
    },
  }
}

/** @throws {SyncError} `invalid_job`, naming the fields that don't fit. */
export function parseSyncUserJob(data: unknown): SyncUserJob {
  const parsed = syncUser.safeParse(data)
  if (parsed.success) return parsed.data
  const fields = parsed.error.issues.map(({ path, code }) => `${path.join('.') || 'payload'} (${code})`)
  throw new SyncError('invalid_job', `payload of sync-user does not fit: ${fields.join(', ')}`)
}
