import { randomUUID } from 'node:crypto'
import type { Database } from '../db/client.ts'
import { askAnew } from '../db/resync-steps.ts'
import { recordRun, type RunCost } from '../db/sync-runs.ts'
import { findBatchSubjects, type SyncSubject } from '../db/sync-subjects.ts'
import { databaseFailure, throwDatabaseFailure } from './database-failure.ts'
import { noticeDeletions } from './deletions.ts'
import { AccessDenied, GraphUnavailable, SyncError, Throttled, TokenRejected } from './errors.ts'
import { readMembershipsOf, unitsOfBatch, type UserRead } from './graph/batch-memberships.ts'
import type { AppToken, AppTokens } from './login/app-tokens.ts'
import type { SyncBatchJob } from './queue/catalogue.ts'
import { noGuard } from './reconcile/guard.ts'
import { reconcile } from './reconcile/reconcile.ts'
import type { Snapshot } from './snapshot.ts'
import type { SyncAttempt, SyncSource } from './sync.ts'

/** A source that the app reads by itself. */
export type BatchSource = SyncSource & {
  appTokens: AppTokens
  /** The only tenant it takes, which can be asked for changes. */
  singleTenant: string | undefined
}

export type BatchParts = { db: Database; sources: ReadonlyMap<string, BatchSource> }

/**
 * How many of the batch came to what; `later` are those whose turn at Graph is still to come, `skipped` those for whom the
 * resync doesn't wait any more. `groupsGone` are groups that everybody left with them.
 */
export type BatchEnd = Record<string, number>

/**
 * Brings the people of one batch up to date, with a token of the app itself: one request for all of them, then a run for
 * each, whose end is its own. Whom Graph knows no more, or keeps from signing in, is disabled and signed out; the former
 * also leave their groups, by the guard of the whole resync only, since that they are gone is proven.
 * @throws {Throttled} where none of them had a turn · {GraphUnavailable} · {SyncError}: nothing was recorded, so that another
 * attempt may follow.
 */
export async function syncBatch(
  { db, sources }: BatchParts,
  job: SyncBatchJob,
  attempt: SyncAttempt = {},
): Promise<BatchEnd> {
  const subjects = await findBatchSubjects(db, job.userIds, job.resyncId).catch(throwDatabaseFailure)
  // Who was read meanwhile, also by this job in a worker that died, and whose resync is cancelled.
  const skipped = job.userIds.length - subjects.length
  if (subjects.length === 0) return { skipped }
  const source = sources.get(job.source)
  if (!source) throw new SyncError('source_unknown', 'the configuration has no source of this name')
  const spent: RunCost = { requests: 0, resourceUnits: 0 }
  const reads = await readAll(db, source, job, subjects, { spent, attempt }).catch(
    async (thrown: unknown) => {
      const error = databaseFailure(thrown)
      if (isLater(error)) throw error
      // What is wrong is wrong for all of them, and another attempt would meet the same.
      return new Map<string, UserRead>(subjects.map(({ objectId }) => [objectId, { kind: 'failed', error }]))
    },
  )
  const end: BatchEnd = skipped > 0 ? { skipped } : {}
  const departures: Departure[] = []
  const overtaken: SyncSubject[] = []
  for (const [index, subject] of subjects.entries()) {
    // The round trips are all of them's; the first has them in its books.
    const cost = index === 0 ? spent : undefined
    const { outcome, ...departure } = await settleOne(
      db,
      source,
      job,
      subject,
      reads.get(subject.objectId),
      cost,
    )
    end[outcome] = (end[outcome] ?? 0) + 1
    if (outcome === 'stale') overtaken.push(subject)
    departures.push(departure)
  }
  if (overtaken.length > 0) await askAnew(db, job.resyncId, overtaken).catch(throwDatabaseFailure)
  const gone = await noticeGone(db, source, job, departures, attempt)
  return gone > 0 ? { ...end, groupsGone: gone } : end
}

/** What a person has left, and the run that found it. */
type Departure = { runId: string; left: readonly string[] }

/** As after a sign-in, for all of the batch in one question. Resolves with how many groups are gone for everybody. */
async function noticeGone(
  db: Database,
  source: BatchSource,
  { tenantId, resyncId }: SyncBatchJob,
  departures: readonly Departure[],
  { signal }: SyncAttempt,
): Promise<number> {
  const first = departures.find(({ left }) => left.length > 0)
  if (!first) return 0
  const run = { id: first.runId }
  const noticed = { db, tenantId, resyncId, run, guard: source.rules.resyncGuard }
  const left = new Set(departures.flatMap((departure) => departure.left))
  const deletions = await noticeDeletions(noticed, [...left], {
    openGraph: async () => {
      const { accessToken } = await source.appTokens.tokenFor(tenantId)
      return source.openGraph(accessToken, 'low', signal)
    },
    asker: 'app',
    budget: source.budgetOf(tenantId),
    priority: 'low',
  })
  return deletions?.groups ?? 0
}

const isLater = (error: SyncError) =>
  error instanceof Throttled || error instanceof GraphUnavailable || error.code === 'database_failed'

async function readAll(
  db: Database,
  source: BatchSource,
  { tenantId }: SyncBatchJob,
  subjects: readonly SyncSubject[],
  { spent, attempt }: { spent: RunCost; attempt: SyncAttempt },
): Promise<ReadonlyMap<string, UserRead>> {
  if (!source.takesTenant(tenantId))
    throw new SyncError('wrong_tenant', 'the people are of another tenant than the source takes')
  const budget = source.budgetOf(tenantId)
  const units = unitsOfBatch(subjects.length)
  const readWith = async ({ accessToken, roles }: AppToken, beganAt: string) => {
    const graph = source.openGraph(accessToken, 'low', attempt.signal)
    try {
      const users = subjects.map(({ objectId }) => objectId)
      const reads = await readMembershipsOf(graph, { users, read: source.groupRead, beganAt })
      return new Map([...reads].map(([user, read]) => [user, withReach(read, roles)]))
    } finally {
      const usage = graph.usage()
      spent.requests += usage.requests
      spent.resourceUnits += usage.units
      await budget.settle('low', usage, units).catch(() => undefined)
    }
  }
  const token = await source.appTokens.tokenFor(tenantId)
  const beganAt = await budget.takeTurn({ priority: 'low', slot: attempt.slot, units })
  try {
    return await readWith(token, beganAt).catch(async (error: unknown) => {
      if (!(error instanceof TokenRejected)) throw error
      const other = await source.appTokens.tokenFor(tenantId, { refused: token.accessToken })
      return await readWith(other, beganAt)
    })
  } catch (error) {
    throw error instanceof Throttled && !error.slot ? await budget.pause('low', error) : error
  }
}

/** What the token let be seen: hidden groups by its roles, as far as it tells them, and names by what Graph told. */
function withReach(read: UserRead, roles: readonly string[]): UserRead {
  if (read.kind !== 'snapshot') return read
  const { snapshot } = read
  const groupsRead = snapshot.memberships.every(({ securityEnabled }) => securityEnabled !== null)
  return { ...read, snapshot: { ...snapshot, groupsRead, hidden: roles.includes('Member.Read.Hidden') } }
}

const standingOf = (enabled: boolean | undefined): Snapshot['standing'] =>
  enabled === undefined ? undefined : enabled ? 'enabled' : 'disabled'

async function settleOne(
  db: Database,
  source: BatchSource,
  job: SyncBatchJob,
  subject: SyncSubject,
  read: UserRead | undefined,
  cost: RunCost | undefined,
): Promise<Departure & { outcome: string }> {
  const run = {
    id: randomUUID(),
    source: job.source,
    cause: 'resync' as const,
    resyncId: job.resyncId,
    startedAt: subject.now,
    cost,
  }
  const nothing = { left: [], runId: run.id }
  try {
    if (!read) throw new SyncError('unexpected_response', 'Graph answered nothing about this person')
    if (read.kind === 'failed') throw read.error
    const isGone = read.kind === 'gone'
    const snapshot: Snapshot = isGone
      ? { beganAt: subject.now, memberships: [], requestId: undefined, hidden: true, standing: 'gone' }
      : { ...read.snapshot, standing: standingOf(read.enabled) }
    const rules = isGone ? { ...source.rules, guard: noGuard } : source.rules
    const { outcome, left } = await reconcile(
      db,
      subject,
      snapshot,
      { ...run, graphRequestId: snapshot.requestId },
      rules,
    )
    if (!isGone || outcome === 'stale') return { outcome, left, runId: run.id }
    return { outcome: outcome === 'held' ? 'held' : 'gone', ...nothing }
  } catch (thrown) {
    const error = databaseFailure(thrown)
    // No run says that they were read: the resync asks for them again.
    if (error instanceof Throttled) return { outcome: 'later', ...nothing }
    const outcome = error instanceof AccessDenied ? 'denied' : 'failed'
    const ended = { ...run, userId: subject.userId, outcome, errorCode: error.code } as const
    await recordRun(db, { ...ended, graphRequestId: error.requestId }).catch(throwDatabaseFailure)
    return { outcome, ...nothing }
  }
}
