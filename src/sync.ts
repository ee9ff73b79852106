import { randomUUID } from 'node:crypto'
import type { Database } from '../db/client.ts'
import { recordRun, type RunCause, type RunCost } from '../db/sync-runs.ts'
import { findSyncSubject, type SyncSubject } from '../db/sync-subjects.ts'
import { databaseNow } from '../db/wave.ts'
import { applyAbsentRule, type AbsentSource } from './absent.ts'
import { databaseFailure, throwDatabaseFailure } from './database-failure.ts'
import { noticeDeletions, type Deletions } from './deletions.ts'
import { AccessDenied, SyncError, Throttled, TokenRejected } from './errors.ts'
import type { GraphClient, GraphPriority } from './graph/client.ts'
import { readMemberships } from './graph/memberships.ts'
import type { TenantBudget } from './graph/throttle.ts'
import { addUsage, type GraphUsage } from './graph/usage.ts'
import type { UserTokens } from './login/tokens.ts'
import type { SyncUserJob } from './queue/catalogue.ts'
import { reconcile, type Reconciled } from './reconcile/reconcile.ts'
import type { Snapshot } from './snapshot.ts'
import { readsGroups } from './source-config.ts'

/** What a configured source brings to a run of one of its people. */
export type SyncSource = AbsentSource & {
  tokens: UserTokens
  openGraph: (accessToken: string, priority: GraphPriority, signal?: AbortSignal) => GraphClient
  groupRead: 'transitive' | 'direct'
  /** What a tenant lets all workers ask together. */
  budgetOf: (tenantId: string) => TenantBudget
}

export type SyncParts = {
  db: Database
  /** By slug. */
  sources: ReadonlyMap<string, SyncSource>
}

export type SyncRun = {
  id: string
  userId: string
  source: string
  cause: RunCause
  /** By the database's clock. */
  startedAt: string
}

/** Milliseconds for which an attempt may wait for its turn. */
export const maxWaitMs = 3_600_000

export type SyncAttempt = {
  /** The turn that the budget has promised. */
  slot?: Throttled['slot']
  /** Milliseconds for which this attempt has waited by now. */
  waitedMs?: number
  /** Aborts open requests. */
  signal?: AbortSignal | undefined
  /** Whether another attempt follows one that ended in this error. */
  isRetried?: (error: SyncError) => boolean
}

export type SyncEnd = {
  run: SyncRun
  /** `skipped`: the resync of the job waits for no run any more, so that there was none. */
  outcome: Reconciled['outcome'] | 'needs_login' | 'denied' | 'skipped'
  counts?: Reconciled['counts']
  /** Of the groups the person left, which are gone for everybody; undefined where nothing was to be asked. */
  deletions?: Deletions | undefined
  error?: SyncError
}

/**
 * Brings one user up to date: token → remote memberships → plan → apply → outcome. Every end is one row of `sync_runs`.
 * A user who must sign in again, or whose token lacks a permission, is an outcome and not an error: no retry helps.
 * @throws {SyncError} everything else, with the run recorded as `failed`; nothing of the memberships has changed.
 */
export async function syncUser(
  parts: SyncParts,
  job: SyncUserJob,
  attempt: SyncAttempt = {},
): Promise<SyncEnd> {
  const subject = await findSyncSubject(parts.db, job.userId, job.resyncId).catch(throwDatabaseFailure)
  if (!subject) throw new SyncError('user_unknown', 'the user of this job is not in the database')
  const run: SyncRun = {
    id: randomUUID(),
    userId: subject.userId,
    source: job.source,
    cause: job.cause,
    startedAt: subject.now,
  }
  if (subject.isSettled) return { run, outcome: 'skipped' }
  const spent = { requests: 0, resourceUnits: 0 }
  try {
    const source = sourceFor(parts, job, subject)
    const budget = source.budgetOf(subject.tenantId)
    const snapshot = await withinBudget(budget, job, attempt, async (turn) => {
      const count = (usage: GraphUsage) => {
        spent.requests += usage.requests
        spent.resourceUnits += usage.units
        turn.count(usage)
      }
      return await readRemote(parts.db, source, job, subject, { ...turn, count, signal: attempt.signal })
    })
    const { outcome, counts, left } = await reconcile(
      parts.db,
      subject,
      snapshot,
      {
        ...run,
        resyncId: job.resyncId,
        graphRequestId: snapshot.requestId,
        cost: spent,
      },
      source.rules,
    )
    const { tenantId, objectId } = subject
    const { resyncId } = job
    const noticed = { db: parts.db, tenantId, run, resyncId, guard: source.rules.resyncGuard }
    const deletions = await noticeDeletions(noticed, left, {
      openGraph: async () => {
        const accessToken = await source.tokens.accessTokenOf({ ...subject, source: job.source })
        return source.openGraph(accessToken, priorityOf(job), attempt.signal)
      },
      // Not the token that read: this one may have been stored since, and is anybody's until Graph has told whose.
      asker: { objectId },
      budget,
      priority: priorityOf(job),
    })
    return { run, outcome, counts, deletions }
  } catch (thrown) {
    const error = databaseFailure(thrown)
    return await endInError(parts, job, { run, subject, spent, error }, attempt).catch(throwDatabaseFailure)
  }
}

/** @throws {SyncError} where the configuration has no such source, or not for this person. */
function sourceFor({ sources }: SyncParts, job: SyncUserJob, subject: SyncSubject): SyncSource {
  const source = sources.get(job.source)
  if (!source) throw new SyncError('source_unknown', 'the configuration has no source of this name')
  if (!source.takesTenant(subject.tenantId))
    throw new SyncError('wrong_tenant', 'the user is of another tenant than the source takes')
  if (source.syncs) return source
  const told = 'group sync is switched off for this source, or it may not read groups'
  throw new AccessDenied(told, { code: 'group_sync_off' })
}

type Turn = {
  /** Waits for nothing: it is this read's turn, or an error. Resolves with the database's time. */
  take: () => Promise<string>
  /** Adds to what the read has cost. */
  count: (usage: GraphUsage) => void
}

/**
 * Waiting is the queue's, so a read whose turn hasn't come is an error that says when to come back. What the read has
 * cost is settled however it ends, and a throttled one pauses the tenant for everybody.
 */
async function withinBudget<Result>(
  budget: TenantBudget,
  job: SyncUserJob,
  { slot, waitedMs = 0 }: SyncAttempt,
  read: (turn: Turn) => Promise<Result>,
): Promise<Result> {
  const priority = priorityOf(job)
  let used: GraphUsage | undefined
  try {
    return await read({
      take: async () => {
        const now = await budget.takeTurn({ priority, slot })
        used = { requests: 0, units: 0, limitShare: undefined }
        return now
      },
      count: (usage) => (used = addUsage(used ?? usage, usage)),
    })
  } catch (error) {
    if (!(error instanceof Throttled)) throw error
    const wait =
      error.by === 'entra'
        ? backOff(error, waitedMs)
        : error.slot
          ? error
          : await budget.pause(priority, error)
    if (waitedMs < maxWaitMs) throw wait
    const minutes = Math.round(waitedMs / 60_000)
    throw new SyncError('throttled_too_long', `no turn at Graph in ${minutes} minutes`, { cause: error })
  } finally {
    // A read that is there, or its error, counts for more than the books: Graph's own headers put those right.
    if (used) await budget.settle(priority, used).catch(() => undefined)
  }
}

/** Milliseconds. */
const maxBackOffMs = 600_000

/**
 * Entra asks this person to wait, or answers them in circles: nobody else has to, and each wait is as long as all before it
 * together, so that a token endpoint isn't asked the same for ever.
 */
function backOff({ retryAfterMs, message, requestId }: Throttled, waitedMs: number): Throttled {
  const ms = Math.max(retryAfterMs, Math.min(waitedMs, maxBackOffMs))
  return new Throttled(ms, message, { requestId, by: 'entra' })
}

function priorityOf(job: SyncUserJob): GraphPriority {
  return job.cause === 'resync' ? 'low' : 'high'
}

/** The turn is for all of a read, a second one with a renewed token included. */
async function readRemote(
  db: Database,
  source: SyncSource,
  job: SyncUserJob,
  subject: SyncSubject,
  turn: Turn & { signal: AbortSignal | undefined },
) {
  let taken = false
  return await source.tokens.withAccessToken(
    { ...subject, source: job.source },
    async (accessToken, scopes) => {
      const beganAt = taken ? await databaseNow(db) : await turn.take()
      taken = true
      const graph = source.openGraph(accessToken, priorityOf(job), turn.signal)
      try {
        const snapshot = await readMemberships(graph, {
          objectId: subject.objectId,
          read: source.groupRead,
          beganAt,
        })
        return { ...snapshot, ...reachOf(scopes, snapshot) }
      } finally {
        turn.count(graph.usage())
      }
    },
  )
}

/** What the token let be seen: by its scopes, or where those aren't known (an exchanged one) by what Graph told. */
function reachOf(
  scopes: readonly string[],
  { memberships }: Snapshot,
): Pick<Snapshot, 'hidden' | 'groupsRead'> {
  const isTold = memberships.every(({ securityEnabled }) => securityEnabled !== null)
  return {
    hidden: scopes.some((scope) => /(^|\/)Member\.Read\.Hidden$/i.test(scope)),
    groupsRead: scopes.length === 0 ? isTold : readsGroups(scopes),
  }
}

type InError = { run: SyncRun; subject: SyncSubject; spent: RunCost; error: SyncError }

async function endInError(
  parts: SyncParts,
  job: SyncUserJob,
  { run, subject, spent, error }: InError,
  attempt: SyncAttempt,
): Promise<SyncEnd> {
  const ended = await applyAbsentRule(parts, job, { run, subject }, error)
  return ended ?? (await endWithout(parts.db, job, { ...run, cost: spent }, error, attempt))
}

async function endWithout(
  db: Database,
  job: SyncUserJob,
  run: SyncRun & { cost: RunCost },
  error: SyncError,
  { isRetried = () => false }: SyncAttempt,
): Promise<SyncEnd> {
  const outcome =
    error instanceof TokenRejected ? 'needs_login' : error instanceof AccessDenied ? 'denied' : 'failed'
  // A pause isn't an end: the job goes back to the queue and the run that ends is recorded.
  if (error.code !== 'throttled') {
    await recordRun(db, {
      ...run,
      resyncId: job.resyncId,
      outcome,
      retried: outcome === 'failed' && isRetried(error),
      errorCode: error.code,
      graphRequestId: error.requestId,
    })
  }
  if (outcome === 'failed') throw error
  return { run, outcome, error }
}
