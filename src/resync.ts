import type { Database } from '../db/client.ts'
import {
  listToEnqueue,
  markTakenEnqueued,
  stepResync,
  type SteppedResync,
  type TakenUser,
} from '../db/resync-steps.ts'
import { approveResync, startResync, type NewResync, type StoredResync } from '../db/resyncs.ts'
import { approveRunsOf } from '../db/sync-runs.ts'
import { SyncError } from './errors.ts'
import { maxUsersAsked } from './graph/batch-memberships.ts'
import type { SyncBatchJob } from './queue/catalogue.ts'
import type { Enqueue } from './queue/enqueue.ts'
import type { ResyncSettings } from './source-config.ts'

export type ResyncParts = {
  db: Database
  enqueue: Enqueue
  enqueueBatches: (jobs: readonly SyncBatchJob[]) => Promise<boolean>
}

/** A source as far as a resync of it goes. */
export type ResyncSource = { slug: string; resync: ResyncSettings }

/** Share of the spread by which a scheduled one begins later, so that sources of one schedule don't begin together. */
const latest = 0.1

/**
 * Begins a resync of a source, or joins the one that goes on. It is a row and nothing else: whichever worker looks next
 * makes its first step.
 */
export async function beginResync(
  db: Database,
  { slug, resync }: ResyncSource,
  { mode, cause }: Pick<NewResync, 'mode' | 'cause'>,
  random: () => number = Math.random,
): Promise<{ resync: StoredResync; joined: boolean }> {
  // Who asks for one by hand means everybody, and now.
  const spreadSeconds = cause === 'manual' || mode === 'delta' ? 0 : resync.spreadSeconds
  return await startResync(db, {
    source: slug,
    mode,
    cause,
    maxAgeSeconds: cause === 'schedule' ? resync.maxAgeSeconds : 0,
    spreadSeconds,
    delaySeconds: Math.round(spreadSeconds * latest * random()),
  })
}

/** People of one resync whose jobs are in the queue at once: enough to keep workers busy, few enough to be nothing to Redis. */
const window = 504

/** Seconds after which the queue is asked again for a job that may have been lost; a second one is merged with the first. */
const againAfterSeconds = 60

/**
 * One step: counts who is done, takes the next, and has the queue make their jobs. Undefined where another worker is at it.
 * The queue is asked once the step is stored, so whoever dies in between leaves people without a job, for whom the next
 * step asks.
 */
export async function advanceResync(
  { db, enqueue, enqueueBatches }: ResyncParts,
  { slug, resync: { absent, read } }: ResyncSource,
  resyncId: string,
): Promise<SteppedResync | undefined> {
  const isOfApp = read === 'app'
  const { policy, afterDays } = absent
  const stepped = await stepResync(db, resyncId, {
    window,
    jobSize: isOfApp ? maxUsersAsked : 1,
    needsToken: !isOfApp,
    absent: policy === 'keep' || isOfApp ? undefined : { policy, afterDays },
  })
  if (!stepped || stepped.ended) return stepped
  const people = await listToEnqueue(db, resyncId, { againAfterSeconds, limit: window })
  if (people.length === 0) return stepped
  const of = { source: slug, resyncId }
  const taken = isOfApp
    ? await enqueueBatches(batchesOf(people).map((batch) => ({ ...batch, ...of })))
    : await enqueue(
        people.map(({ userId, tenantId }) => ({ userId, tenantId, ...of, cause: 'resync' as const })),
      )
  if (taken) await markTakenEnqueued(db, resyncId, people)
  return stepped
}

type Batch = { tenantId: string; userIds: string[]; takenAt: string }

/** People of one tenant each, as many as one request reads; they come in the order in which they were taken. */
function batchesOf(people: readonly TakenUser[]): Batch[] {
  const batches: Batch[] = []
  const open = new Map<string, Batch>()
  for (const { tenantId, userId, takenAt } of people) {
    const batch = open.get(tenantId)
    if (batch && batch.userIds.length < maxUsersAsked) {
      batch.userIds.push(userId)
      batch.takenAt = takenAt
    } else {
      const begun = { tenantId, userIds: [userId], takenAt }
      open.set(tenantId, begun)
      batches.push(begun)
    }
  }
  return batches
}

/** How many runs of a resync are agreed to at once. */
const page = 500

/**
 * Agrees to what the guard of a whole resync holds, for the runs it has made and those it still makes, and has those people
 * read again. Resolves with how many.
 * @throws {SyncError} `run_not_held` where there is no such resync, or it holds nothing; `queue_unavailable` where the queue doesn't take the jobs:
 * the agreement is stored, and the next run of each person carries it out.
 */
export async function approveHeldResync(
  { db, enqueue }: { db: Database; enqueue: Enqueue },
  resyncId: string,
): Promise<number> {
  if (!(await approveResync(db, resyncId)))
    throw new SyncError('run_not_held', `resync ${resyncId} holds nothing, or there is none`)
  let approved = 0
  for (;;) {
    const held = await approveRunsOf(db, resyncId, page)
    if (held.length === 0) return approved
    approved += held.length
    const jobs = held.map(({ userId, tenantId, source }) => ({
      userId,
      tenantId,
      source,
      cause: 'approve' as const,
    }))
    if (!(await enqueue(jobs))) {
      const told =
        'the approval is stored, but the queue took no job: the next run of each person carries it out'
      throw new SyncError('queue_unavailable', told)
    }
  }
}

/** Seconds that a resync still takes, by how fast it has been; undefined before anybody is done, and after its end. */
export function secondsLeft(
  { startedAt, due, done, state }: Pick<StoredResync, 'startedAt' | 'due' | 'done' | 'state'>,
  now: number,
): number | undefined {
  if (done === 0 || state !== 'running') return undefined
  const perPerson = (now - Date.parse(startedAt)) / done / 1000
  return Math.max(0, Math.round((due - done) * perPerson))
}
