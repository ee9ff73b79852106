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
  /** A job that waits for its turn at Graph; of that attempt only. */
  wait: z
    .strictObject({
      attempt: z.int(),
      /** When the attempt began to wait, in milliseconds since 1970 by a worker's clock. */
      since: z.number(),
      /** The turn that the tenant's budget has promised. */
      slot: z.strictObject({ at: z.number(), generation: z.int() }).optional(),
    })
    .optional(),
})

export type SyncUserJob = z.output<typeof syncUser>

const day = 86_400

/**
 * Every kind of job there is: what it carries and how the queue treats it. Names are stored in Redis and outlive
 * refactors. Retention is by age only, because `count` is slow on the Postgres backend.
 */
export const catalogue = {
  'sync-user': {
    queue: 'sync',
    payload: syncUser,
    attempts: 5,
    /** Exponential with full jitter: between 0 and 2 s, 4 s, 8 s, 16 s. What takes longer to mend the relay brings back. */
    backoff: { type: 'exponential', delay: 2000, jitter: 1 },
    retention: { completedSeconds: day, failedSeconds: 14 * day },
    /** One job a user at a time; an event during a run makes exactly one more run. */
    deduplicationKey: (job: SyncUserJob) => job.userId,
  },
} as const

/** BullMQ takes jobs without a priority first, so that nobody who signs in waits behind a resync. */
export function priorityOf(job: SyncUserJob): number {
  return job.cause === 'resync' ? 10 : 0
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
      removeOnComplete: { age: kind.retention.completedSeconds },
      removeOnFail: { age: kind.retention.failedSeconds },
      priority: priorityOf(payload),
      deduplication: { id: kind.deduplicationKey(payload), keepLastIfActive: true },
    },
  }
}

export type JobWait = NonNullable<SyncUserJob['wait']>

/** @throws {SyncError} `invalid_job`, naming the fields that don't fit. */
export function parseSyncUserJob(data: unknown): SyncUserJob {
  const parsed = syncUser.safeParse(data)
  if (parsed.success) return parsed.data
  const fields = parsed.error.issues.map(({ path, code }) => `${path.join('.') || 'payload'} (${code})`)
  throw new SyncError('invalid_job', `payload of sync-user does not fit: ${fields.join(', ')}`)
}
