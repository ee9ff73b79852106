import { randomUUID } from 'node:crypto'
import type { Database } from '../db/client.ts'
import { recordRun } from '../db/sync-runs.ts'
import { findSyncSubject, type SyncSubject } from '../db/sync-subjects.ts'
import { databaseFailure } from './database-failure.ts'
import { AccessDenied, SyncError, TokenRejected } from './errors.ts'
import type { GraphClient, GraphPriority } from './graph/client.ts'
import { readMemberships } from './graph/memberships.ts'
import type { AccessTokenOf } from './login/tokens.ts'
import type { SyncUserJob } from './queue/catalogue.ts'
import type { GuardLimits } from './reconcile/guard.ts'
import { reconcile, type Reconciled } from './reconcile/reconcile.ts'

export type SyncParts = {
  db: Database
  accessTokenOf: AccessTokenOf
  openGraph: (accessToken: string, priority: GraphPriority, signal?: AbortSignal) => GraphClient
  /** The tenant of the source: whose people, groups and tokens these parts are for. */
  tenantId: string
  groupRead: 'transitive' | 'direct'
  guard: GuardLimits
}

export type SyncRun = {
  id: string
  userId: string
  source: string
  cause: SyncUserJob['cause']
  /** By the database's clock; also when the read began. */
  startedAt: string
}

export type SyncAttempt = {
  /** Aborts open requests. */
  signal?: AbortSignal | undefined
  /** Whether another attempt follows one that ended in this error. */
  isRetried?: (error: SyncError) => boolean
}

export type SyncEnd = {
  run: SyncRun
  outcome: Reconciled['outcome'] | 'needs_login' | 'denied'
  counts?: Reconciled['counts']
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
  const subject = await findSyncSubject(parts.db, job.userId).catch((error: unknown) => {
    throw databaseFailure(error)
  })
  if (!subject) throw new SyncError('user_unknown', 'the user of this job is not in the database')
  const run: SyncRun = {
    id: randomUUID(),
    userId: subject.userId,
    source: job.source,
    cause: job.cause,
    startedAt: subject.now,
  }
  try {
    if (subject.tenantId !== parts.tenantId) {
      throw new SyncError('wrong_tenant', 'the user is of another tenant than the source')
    }
    const snapshot = await readRemote(parts, job, subject, attempt.signal)
    const { outcome, counts } = await reconcile(
      parts.db,
      subject,
      snapshot,
      {
        ...run,
        resyncId: job.resyncId,
        graphRequestId: snapshot.requestId,
      },
      parts.guard,
    )
    return { run, outcome, counts }
  } catch (thrown) {
    return await endWithout(parts.db, job, run, databaseFailure(thrown), attempt)
  }
}

/** A token Graph refuses though it hasn't expired is renewed once; then the refusal stands. */
async function readRemote(parts: SyncParts, job: SyncUserJob, subject: SyncSubject, signal?: AbortSignal) {
  const owner = { ...subject, source: job.source }
  const priority = job.cause === 'resync' ? 'low' : 'high'
  const read = (accessToken: string) =>
    readMemberships(parts.openGraph(accessToken, priority, signal), {
      objectId: subject.objectId,
      read: parts.groupRead,
      beganAt: subject.now,
    })
  const accessToken = await parts.accessTokenOf(owner)
  try {
    return await read(accessToken)
  } catch (error) {
    if (!(error instanceof TokenRejected)) throw error
    return await read(await parts.accessTokenOf(owner, { refused: accessToken }))
  }
}

async function endWithout(
  db: Database,
  job: SyncUserJob,
  run: SyncRun,
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
