import type { Database } from '../../db/client.ts'
import {
  applyWrites,
  loadStored,
  touchUnchanged,
  type Loaded,
  type Read,
  type Written,
} from '../../db/memberships.ts'
import { findResyncSoFar } from '../../db/resyncs.ts'
import { approvedRemovals, type Run } from '../../db/sync-runs.ts'
import { SyncError } from '../errors.ts'
import type { Snapshot } from '../snapshot.ts'
import { databaseFailure } from '../database-failure.ts'
import { digestOf, filteredDigest } from './digest.ts'
import { sift, type GroupFilter, type Sifted } from './filter.ts'
import {
  guardPlan,
  guardReach,
  guardResync,
  releaseApproved,
  type Guarded,
  type GuardLimits,
} from './guard.ts'
import { planReconcile, type Plan, type Stored } from './plan.ts'

/** The stored user whose memberships were read, and the tenant whose groups are theirs to have. */
export type Subject = { userId: string; tenantId: string }

/** What a source's configuration says about applying. */
export type Rules = {
  guard: GuardLimits
  /** For all runs of one resync together; left out, only the guard of each person counts. */
  resyncGuard?: GuardLimits | undefined
  /** Left out, every group is kept. */
  filter?: GroupFilter | undefined
  /** Milliseconds to wait for whoever holds the user's row; left out, as long as it takes. */
  lockTimeoutMs?: number | undefined
}

export type Counts = Omit<Written, 'outcome'> & {
  /** Groups in the snapshot. */
  remote: number
  /** Removals the guard held back. */
  held: number
  /** Groups in the snapshot that the filter keeps out. */
  filtered: number
  /** Groups in the snapshot of which Graph didn't tell what the filter asks for. */
  unknown: number
}

export type Reconciled = {
  outcome: 'applied' | 'unchanged' | 'stale' | 'held'
  counts: Counts
  /** Ids of the groups that the person left because Graph doesn't list them any more. */
  left: readonly string[]
}

/** Another run of the same user must get in between this often for a plan to fail; the queue allows one at a time. */
const plans = 20

/**
 * Brings a user's stored memberships to a snapshot and records the run, all in one transaction or not at all. One
 * statement for an unchanged user, three otherwise, whatever the number of groups; up to two more where removals may have
 * to be held. Anything the database throws becomes `database_failed`, free of parameters.
 */
export async function reconcile(
  db: Database,
  subject: Subject,
  snapshot: Snapshot,
  run: Run,
  rules: Rules,
): Promise<Reconciled> {
  const { filter, lockTimeoutMs } = rules
  const sifted = sift(snapshot.memberships, filter)
  const digest = digestOf(sifted.memberships)
  const read = {
    ...subject,
    beganAt: snapshot.beganAt,
    digest: filter ? filteredDigest(digest, filter.fingerprint) : digest,
    remote: snapshot.memberships.length,
    reach: { hidden: snapshot.hidden ?? false, groups: snapshot.groupsRead ?? true },
    person: snapshot.person,
    standing: standingOf(snapshot),
    run: { ...run, graphRequestId: run.graphRequestId ?? snapshot.requestId },
    lockTimeoutMs,
  }
  try {
    for (let attempt = 1; attempt <= plans; attempt += 1) {
      const reconciled = await attemptReconcile(db, snapshot, sifted, read, rules)
      if (reconciled) return reconciled
    }
  } catch (thrown) {
    throw databaseFailure(thrown)
  }
  throw new SyncError('database_failed', `other runs of the user got in between ${plans} times`)
}

/** That somebody is gone is held with their groups: an answer can be wrong about everybody. */
function standingOf({ standing }: Snapshot): Read['standing'] {
  return standing && { enabled: standing === 'enabled', evenIfHeld: standing !== 'gone' }
}

/** Undefined where the user's row changed after the plan was made. */
async function attemptReconcile(
  db: Database,
  snapshot: Snapshot,
  sifted: Sifted,
  read: Read,
  rules: Rules,
): Promise<Reconciled | undefined> {
  const outcome = await touchUnchanged(db, read)
  if (outcome === undefined) throw userUnknown()
  const seen = { remote: read.remote, filtered: sifted.out, unknown: sifted.unknown.size }
  if (outcome !== 'changed') {
    const nothing = { groupsCreated: 0, groupsUpdated: 0, added: 0, removed: 0, held: 0 }
    return { outcome, counts: { ...seen, ...nothing }, left: [] }
  }
  const stored = await loadStored(
    db,
    read,
    sifted.memberships.map(({ objectId }) => objectId),
  )
  if (!stored) throw userUnknown()
  const plan = planReconcile(sifted.memberships, stored, sifted.unknown)
  const guarded = await guard(db, read, plan, stored, rules)
  const written = await applyWrites(db, read, stored.basis, {
    ...guarded.plan,
    held: guarded.held,
    heldBy: guarded.by,
  })
  if (!written) return undefined
  const { outcome: end, ...counts } = written
  return {
    outcome: end,
    counts: { ...seen, ...counts, held: guarded.held.length },
    left: unlisted(guarded.plan, stored, snapshot),
  }
}

/** A resync is looked up only where one of its plans removes, approvals only where something would be held. */
async function guard(
  db: Database,
  { userId, tenantId, reach, run: { resyncId } }: Read,
  plan: Plan,
  { members, basis }: Loaded,
  { guard: limits, resyncGuard }: Rules,
): Promise<Guarded> {
  const removals = plan.remove.length
  const soFar =
    resyncId !== undefined && resyncGuard && removals > 0
      ? await findResyncSoFar(db, { resyncId, tenantId, countFrom: resyncGuard.minRemovals - removals })
      : undefined
  const guarded = judge()
  if (guarded.held.length === 0) return guarded
  return releaseApproved(guarded, await approvedRemovals(db, userId))

  function judge(): Guarded {
    const unseen = guardReach(plan, { before: basis.reach, now: reach })
    if (unseen.held.length > 0) return unseen
    const tooMuch = guardPlan(plan, members.length, limits)
    if (tooMuch.held.length > 0 || !soFar || !resyncGuard) return tooMuch
    return guardResync(plan, soFar, resyncGuard)
  }
}

/** What is removed though Graph lists it is removed by the filter: that group exists. */
function unlisted(plan: Plan, stored: Stored, snapshot: Snapshot): string[] {
  if (plan.remove.length === 0) return []
  const listed = new Set(snapshot.memberships.map(({ objectId }) => objectId))
  const removed = new Set(plan.remove)
  return stored.members
    .filter(({ id, objectId }) => removed.has(id) && !listed.has(objectId))
    .map(({ id }) => id)
}

function userUnknown(): SyncError {
  return new SyncError('user_unknown', 'the user is not stored in this tenant')
}
