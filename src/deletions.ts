import type { Database } from '../db/client.ts'
import { findSharedGroups, markGroupsDeleted } from '../db/groups.ts'
import { databaseFailure } from './database-failure.ts'
import { Throttled, type SyncError } from './errors.ts'
import type { GraphClient } from './graph/client.ts'
import type { GraphUsage } from './graph/usage.ts'
import { maxGroupsAsked, readDeletedGroups } from './graph/groups.ts'

export type Deletions = {
  /** Groups that Graph was asked for. */
  asked: number
  /** Groups marked deleted, and the memberships of others that left with them. */
  groups: number
  memberships: number
  /** Why that isn't known; no reason for the run to fail. */
  failed?: SyncError['code']
}

/**
 * Asks whether groups that a person has left still exist, where other people have a membership: a group that Graph
 * proves to be deleted is left by everybody, before each of them is read again. The run has been applied by then, so that
 * no failure here is one of the run: whoever leaves the group next asks again. Undefined where there is nothing to ask.
 */
export async function noticeDeletions(
  { db, tenantId }: { db: Database; tenantId: string },
  groupIds: readonly string[],
  run: { id: string },
  ask: {
    openGraph: () => Promise<GraphClient>
    /** Told what the question has cost. */
    settle: (usage: GraphUsage) => Promise<void>
    /** Told that Graph asked for a pause. */
    pause: (asked: Throttled) => Promise<unknown>
  },
): Promise<Deletions | undefined> {
  if (groupIds.length === 0) return undefined
  let asked = 0
  try {
    const shared = await findSharedGroups(db, groupIds, maxGroupsAsked)
    asked = shared.objectIds.length
    if (asked === 0) return undefined
    const graph = await ask.openGraph()
    const asking = readDeletedGroups(graph, shared.objectIds)
    await Promise.allSettled([asking])
    await ask.settle(graph.usage())
    const { objectIds, throttled } = await asking
    if (throttled) await ask.pause(throttled)
    return { asked, ...(await markGroupsDeleted(db, { tenantId, objectIds, at: shared.now, run })) }
  } catch (thrown) {
    if (thrown instanceof Throttled && thrown.by === 'graph') await ask.pause(thrown).catch(() => undefined)
    return { asked, groups: 0, memberships: 0, failed: databaseFailure(thrown).code }
  }
}
