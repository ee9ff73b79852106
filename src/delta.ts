import { randomUUID } from 'node:crypto'
import type { Database } from '../db/client.ts'
import { findDeltaLinks, type DeltaLink } from '../db/delta-links.ts'
import { isInhabited } from '../db/groups.ts'
import { endHints, hintAgain, hintMembers, hintUsers, labelGroups } from '../db/hints.ts'
import { settledAfterSeconds } from '../db/read-again.ts'
import { confirmDeletions, type Deletions, type Noticed } from './deletions.ts'
import { TokenRejected } from './errors.ts'
import { LinkExpired } from './graph/answer.ts'
import type { GraphClient } from './graph/client.ts'
import { readBaseline, readChanges, readPeopleIn, type DeltaEntry } from './graph/delta.ts'
import { heedingPauses, pausedBy } from './graph/throttle.ts'
import { beginResync, type ResyncSource } from './resync.ts'
import type { GroupFilter } from './reconcile/filter.ts'
import type { BatchSource } from './sync-batch.ts'

/** Seconds after which a link isn't used any more; Graph forgets it after seven days (Graph docs: delta-query-overview). */
const maxAgeSeconds = 6 * 86_400

/**
 * What came of it: a first baseline, the changes since the last round, or a baseline since that is forgotten. `ended`: the
 * resync has meanwhile, so that the next round reads the same.
 */
export type DeltaEnd = {
  kind: 'baseline' | 'changes' | 'expired' | 'ended'
  entries: number
  hinted: number
  /** Of the groups told to be deleted, with the id that the change log names; undefined where none of them is known. */
  deletions?: (Deletions & { run: string }) | undefined
}

/** Units of a round in which nothing has changed: a page of each. */
const unitsOfQuiet = 2

/**
 * One delta round of a tenant: whoever it says something about is taken by the resync, which reads them anew. What it
 * says is a hint and no more, since rounds are replayed, repeated and late; and as what it says may be read too early, they
 * are read once more by a round some minutes later. The links of the next round are stored with the last hint, so that whoever dies
 * before reads this one again. Where changes can't be told any more, everybody is read.
 * @throws {SyncError} as the requests do; nothing is lost then.
 */
export async function readHints(
  db: Database,
  source: BatchSource & ResyncSource,
  { resyncId, tenantId, signal }: { resyncId: string; tenantId: string; signal?: AbortSignal | undefined },
): Promise<DeltaEnd> {
  const budget = source.budgetOf(tenantId)
  const about = { resyncId, tenantId, source: source.slug }
  const { resyncGuard: guard, filter } = source.rules
  const readWith = async (accessToken: string, beganAt: string) => {
    const graph = heedingPauses(source.openGraph(accessToken, 'low', signal), budget)
    try {
      return { ...(await readRounds(db, graph, about, { beganAt, guard, filter })), usage: graph.usage() }
    } finally {
      await budget.settle('low', graph.usage(), unitsOfQuiet).catch(() => undefined)
    }
  }
  const { accessToken } = await source.appTokens.tokenFor(tenantId)
  const beganAt = await budget.takeTurn({ priority: 'low', units: unitsOfQuiet })
  try {
    const { links, usage, ...end } = await readWith(accessToken, beganAt).catch(async (error: unknown) => {
      if (!(error instanceof TokenRejected)) throw error
      const other = await source.appTokens.tokenFor(tenantId, { refused: accessToken })
      return await readWith(other.accessToken, beganAt)
    })
    // After the new links were given, since what changes before is told by nobody; and before they are stored, since
    // afterwards nobody knows that the old ones have expired.
    if (end.kind === 'expired') await beginResync(db, source, { mode: 'full', cause: 'expired' })
    const spent = { requests: usage.requests, resourceUnits: usage.units, anew: end.kind !== 'changes' }
    const everybody = end.kind === 'expired' ? { dueInSeconds: laterThan(source.resync) } : undefined
    return (await endHints(db, { ...about, ...spent, everybody }, links)) ? end : { ...end, kind: 'ended' }
  } catch (error) {
    throw await pausedBy(error, budget, 'low')
  }
}

/** When a resync of everybody that begins now is over, or should be. */
function laterThan({ spreadSeconds }: ResyncSource['resync']): number {
  return 2 * spreadSeconds + settledAfterSeconds
}

type About = { resyncId: string; tenantId: string; source: string }

async function readRounds(
  db: Database,
  graph: GraphClient,
  about: About,
  { beganAt, guard, filter }: { beganAt: string; guard: Noticed['guard']; filter: GroupFilter | undefined },
): Promise<DeltaEnd & { links: DeltaLink[] }> {
  const known = await findDeltaLinks(db, about.source, maxAgeSeconds)
  const linkOf = (resource: DeltaLink['resource']) =>
    known.links.find((each) => each.resource === resource)?.link
  const [users, groups] = [linkOf('users'), linkOf('groups')]
  const nothing = { entries: 0, hinted: 0 }
  if (users === undefined || groups === undefined)
    return { kind: known.expired ? 'expired' : 'baseline', ...nothing, links: await baselines(graph) }
  try {
    await hintAgain(db, about)
    const hints = collectHints(db, graph, about, { beganAt, filter })
    const ofUsers = await readChanges(graph, users, hints.ofUsers)
    const ofGroups = await readChanges(graph, groups, hints.ofGroups)
    // Who has left a group meanwhile, as somebody else was read, wasn't in it any more as the group was told of.
    await hintAgain(db, about)
    // After its people were hinted at, who are read for what the group was in as well.
    const run = { id: randomUUID() }
    const deletions = await confirmDeletions({ db, ...about, run, guard }, graph, hints.removed())
    return {
      kind: 'changes',
      deletions: deletions && { ...deletions, run: run.id },
      entries: ofUsers.entries + ofGroups.entries,
      hinted: hints.hinted(),
      links: [
        { resource: 'users', link: ofUsers.link },
        { resource: 'groups', link: ofGroups.link },
      ],
    }
  } catch (error) {
    if (!(error instanceof LinkExpired)) throw error
    return { kind: 'expired', ...nothing, links: await baselines(graph) }
  }
}

async function baselines(graph: GraphClient): Promise<DeltaLink[]> {
  return [
    { resource: 'users', link: await readBaseline(graph, 'users') },
    { resource: 'groups', link: await readBaseline(graph, 'groups') },
  ]
}

/** Of a group's kind, which doesn't change, nothing is told here: only its labels are judged. */
const untold = { securityEnabled: null, mailEnabled: null, groupTypes: null }

/** Takes whom a page is about: cost follows what has changed, and nothing is kept of a page but groups that are gone, or in groups. */
function collectHints(
  db: Database,
  graph: GraphClient,
  about: About,
  { beganAt, filter }: { beganAt: string; filter: GroupFilter | undefined },
) {
  let hinted = 0
  const nested = new Map<string, number>()
  const removed = new Set<string>()
  const take = async (objectIds: readonly string[]) => {
    if (objectIds.length > 0) hinted += await hintUsers(db, about, objectIds)
  }
  const takeMembers = async (groupIds: readonly string[]) => {
    if (groupIds.length > 0) hinted += await hintMembers(db, about, groupIds)
  }
  return {
    hinted: () => hinted,
    removed: () => [...removed],
    ofUsers: async (entries: readonly DeltaEntry[]) => await take(entries.map(({ objectId }) => objectId)),
    ofGroups: async (entries: readonly DeltaEntry[]) => {
      await take(entries.flatMap(({ users }) => users))
      const labelled = entries.flatMap(({ objectId, labels }) => (labels ? [{ objectId, ...labels }] : []))
      if (labelled.length > 0) await labelGroups(db, about.tenantId, beganAt, labelled)
      // Whoever has a group that its new name keeps out doesn't keep it until they are read for another reason.
      const keptOut = labelled.filter((each) => filter?.judge({ ...untold, ...each }) === 'out')
      await takeMembers(keptOut.map(({ objectId }) => objectId))
      // Who was in a group that is gone has left it, and whatever it was in.
      const gone = entries.flatMap((entry) => (entry.removed ? [entry.objectId] : []))
      for (const group of gone) removed.add(group)
      await takeMembers(gone)
      for (const { objectId: outer, groups, left } of entries)
        for (const group of groups) {
          const listed = nested.get(group) ?? (await readPeopleIn(graph, group, take))
          // Right after the others, most of whom they are: else a fast worker reads them in between, and twice.
          if (!nested.has(group)) await takeMembers([group])
          nested.set(group, listed)
          // Of hidden membership, say: nobody is known to be in it, and anybody may have what it was in through it.
          if (listed === 0 && left.includes(group) && !(await isInhabited(db, about.tenantId, group)))
            await takeMembers([outer])
        }
    },
  }
}
