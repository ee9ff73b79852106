import type { Database } from '../db/client.ts'
import {
  countMemberships,
  findKnownGroups,
  findSharedGroups,
  markGroupsDeleted,
  type Deletion,
} from '../db/groups.ts'
import { countWithResync, findResyncSoFar } from '../db/resyncs.ts'
import { databaseFailure } from './database-failure.ts'
import type { SyncError } from './errors.ts'
import type { GraphClient, GraphPriority } from './graph/client.ts'
import { maxGroupsAsked, readDeletedGroups, type Asker } from './graph/groups.ts'
import { heedPause, pausedBy, type TenantBudget } from './graph/throttle.ts'
import { isTooMuch, type GuardLimits } from './reconcile/guard.ts'

export type Deletions = {
  /** Groups that Graph was asked for. */
  asked: number
  /** Groups marked deleted, and the memberships of others that left with them. */
  groups: number
  memberships: number
  /** Memberships that would have left where the guard let nothing be marked. */
  held?: number
  /** Why that isn't known; no reason for the run to fail. */
  failed?: SyncError['code']
}

/** On whose behalf: what the change log names, and the resync whose removals these are too. */
export type Noticed = {
  db: Database
  tenantId: string
  run: { id: string }
  resyncId?: string | undefined
  /** Of a whole resync of the source. */
  guard: GuardLimits | undefined
}

/**
 * Asks whether groups that a person has left still exist, where other people have a membership: a group that Graph
 * proves to be deleted is left by everybody, before each of them is read again. The run has been applied by then, so that
 * no failure here is one of the run: whoever leaves the group next asks again. Undefined where there is nothing to ask.
 */
export async function noticeDeletions(
  noticed: Noticed,
  groupIds: readonly string[],
  ask: {
    openGraph: () => Promise<GraphClient>
    asker: Asker
    budget: Pick<TenantBudget, 'state' | 'settle' | 'pause'>
    priority: GraphPriority
  },
): Promise<Deletions | undefined> {
  if (groupIds.length === 0) return undefined
  const { budget, priority } = ask
  let asked = 0
  try {
    const shared = await findSharedGroups(noticed.db, groupIds, maxGroupsAsked)
    asked = shared.objectIds.length
    if (asked === 0) return undefined
    await heedPause(budget)
    const graph = await ask.openGraph()
    const asking = readDeletedGroups(graph, shared.objectIds, ask.asker)
    await Promise.allSettled([asking])
    await budget.settle(priority, graph.usage(), 0)
    const { objectIds, throttled } = await asking
    if (throttled) await pausedBy(throttled, budget, priority)
    return { asked, ...(await markWithin(noticed, { objectIds, at: shared.now })) }
  } catch (thrown) {
    const error = databaseFailure(await pausedBy(thrown, budget, priority))
    return { asked, groups: 0, memberships: 0, failed: error.code }
  }
}

/**
 * Has the app ask whether groups exist that Graph has told to be deleted, since what it tells of changes is a hint. Those
 * without members count as well. Undefined where none of them is known.
 * @throws {SyncError} as the request does, or where one of the groups was to be asked for later; nothing is marked then.
 */
export async function confirmDeletions(
  noticed: Noticed,
  graph: GraphClient,
  told: readonly string[],
): Promise<Deletions | undefined> {
  const known = await findKnownGroups(noticed.db, noticed.tenantId, told)
  const asked = known.objectIds.length
  if (asked === 0) return undefined
  const gone: string[] = []
  for (let index = 0; index < asked; index += maxGroupsAsked) {
    const batch = known.objectIds.slice(index, index + maxGroupsAsked)
    const { objectIds, throttled } = await readDeletedGroups(graph, batch, 'app')
    if (throttled) throw throttled
    gone.push(...objectIds)
  }
  return { asked, ...(await markWithin(noticed, { objectIds: gone, at: known.now })) }
}

/**
 * An answer can be wrong about everybody. Where all these memberships together, with what the resync has removed before, are
 * more than may leave at once, nothing is marked: the groups are left with each person's own read, which guards look at.
 */
async function markWithin(
  { db, tenantId, run, resyncId, guard }: Noticed,
  { objectIds, at }: Pick<Deletion, 'objectIds' | 'at'>,
): Promise<Omit<Deletions, 'asked'>> {
  const removals = guard ? await countMemberships(db, tenantId, objectIds) : 0
  if (guard && removals > 0) {
    const countFrom = guard.minRemovals - removals
    const soFar = await findResyncSoFar(db, { resyncId, tenantId, countFrom })
    if (soFar && isTooMuch(removals, soFar, guard)) return { groups: 0, memberships: 0, held: removals }
  }
  const marked = await markGroupsDeleted(db, { tenantId, objectIds, at, run })
  if (resyncId !== undefined && marked.memberships > 0)
    await countWithResync(db, resyncId, marked.memberships)
  return marked
}
