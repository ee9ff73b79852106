import type { Database } from '../../db/client.ts'
import { applyWrites, loadStored, touchUnchanged, type Read, type Written } from '../../db/memberships.ts'
import { approvedRemovals, type Run } from '../../db/sync-runs.ts'
import { SyncError } from '../errors.ts'
import type { Snapshot } from '../snapshot.ts'
import { databaseFailure } from '../database-failure.ts'
import { digestOf } from './digest.ts'
import { guardPlan, type Guarded, type GuardLimits } from './guard.ts'
import { planReconcile, type Plan } from './plan.ts'

/** The stored user whose memberships were read, and the tenant whose groups are theirs to have. */
export type Subject = { userId: string; tenantId: string }

export type Counts = Omit<Written, 'outcome'> & {
  /** Groups in the snapshot. */
  remote: number
  /** Removals the guard held back. */
  held: number
}

export type Reconciled = { outcome: 'applied' | 'unchanged' | 'stale' | 'held'; counts: Counts }

/** Another run of the same user must get in between this often for a plan to fail; the queue allows one at a time. */
const plans = 20

/**
 * Brings a user's stored memberships to a snapshot and records the run, all in one transaction or not at all. One
 * statement for an unchanged user, three otherwise, whatever the number of groups. Anything the database throws
 * becomes `database_failed`, free of parameters.
 */
export async function reconcile(
  db: Database,
  subject: Subject,
  snapshot: Snapshot,
  run: Run,
  limits: GuardLimits,
): Promise<Reconciled> {
  const read = {
    ...subject,
    beganAt: snapshot.beganAt,
    digest: digestOf(snapshot.memberships),
    remote: snapshot.memberships.length,
    run: { ...run, graphRequestId: run.graphRequestId ?? snapshot.requestId },
  }
  try {
    for (let attempt = 1; attempt <= plans; attempt += 1) {
      const reconciled = await attemptReconcile(db, snapshot, read, limits)
      if (reconciled) return reconciled
    }
  } catch (thrown) {
    throw databaseFailure(thrown)
  }
  throw new SyncError('database_failed', `other runs of the user got in between ${plans} times`)
}

/** Undefined where the user's row changed after the plan was made. */
async function attemptReconcile(
  db: Database,
  snapshot: Snapshot,
  read: Read,
  limits: GuardLimits,
): Promise<Reconciled | undefined> {
  const outcome = await touchUnchanged(db, read)
  if (outcome === undefined) throw userUnknown()
  if (outcome !== 'changed') {
    return {
      outcome,
      counts: { remote: read.remote, groupsCreated: 0, groupsUpdated: 0, added: 0, removed: 0, held: 0 },
    }
  }
  const stored = await loadStored(
    db,
    read,
    snapshot.memberships.map(({ objectId }) => objectId),
  )
  if (!stored) throw userUnknown()
  const plan = planReconcile(snapshot.memberships, stored)
  const guarded = await guard(db, read.userId, plan, stored.members.length, limits)
  const written = await applyWrites(db, read, stored.basis, { ...guarded.plan, held: guarded.held })
  if (!written) return undefined
  const { outcome: end, ...counts } = written
  return { outcome: end, counts: { remote: read.remote, ...counts, held: guarded.held } }
}

/** Approvals are looked up only where the guard would hold something. */
async function guard(
  db: Database,
  userId: string,
  plan: Plan,
  memberships: number,
  limits: GuardLimits,
): Promise<Guarded> {
  const guarded = guardPlan(plan, memberships, limits)
  if (guarded.held === 0) return guarded
  return guardPlan(plan, memberships, limits, await approvedRemovals(db, userId))
}

function userUnknown(): SyncError {
  return new SyncError('user_unknown', 'the user is not stored in this tenant')
}
