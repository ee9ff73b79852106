import { listResyncs, type StoredResync } from '../../db/resyncs.ts'
import { readHints, type DeltaEnd } from '../../src/delta.ts'
import { beginResync } from '../../src/resync.ts'
import { syncUser, type SyncEnd } from '../../src/sync.ts'
import { givenAppWorld } from './app-world.ts'
import { endOf, fastResync, minutesPass } from './resyncs.ts'
import type { World } from './world.ts'

/** Worlds of an app that is told of changes, which a test asks for itself. */
export function givenDeltaWorld() {
  const people = givenAppWorld()

  /** A tenant whose people are synced, and that was asked once what changes. */
  async function given(count: number, environment: Record<string, string> = {}) {
    const world = await people.open('postgres', { RESYNC_SPREAD_MINUTES: '0', ...environment })
    const workers = await world.startWorkers(fastResync)
    const ids = Array.from({ length: count }, () => people.personIn(1))
    for (const id of ids) await people.login(id)
    await round(world)
    return { world, workers, ids, tenant: world.simulator.tenant }
  }

  return { ...people, given }
}

export async function beginDelta({ db, source }: World): Promise<string> {
  return (await beginResync(db, source, { mode: 'delta', cause: 'schedule' })).resync.id
}

/** Asks Graph what has changed, for a resync that has begun. */
export async function read({ db, source, simulator }: World, resyncId: string): Promise<DeltaEnd> {
  return await readHints(db, source, { resyncId, tenantId: simulator.tenant.id })
}

/** A resync of what has changed, from its begin to its end. */
export async function round(world: World): Promise<DeltaEnd & { resync: StoredResync }> {
  const id = await beginDelta(world)
  const end = await read(world, id)
  return { ...end, resync: await endOf(world.db, id) }
}

/** How the resyncs of everybody ended, the newest first. */
export async function fullsOf({ db }: World): Promise<StoredResync[]> {
  const fulls = (await listResyncs(db, 9)).filter(({ mode }) => mode === 'full')
  return await Promise.all(fulls.map(async ({ id }) => await endOf(db, id)))
}

/** A run of the person's own token; `meanwhile` happens once, after Graph has told their groups and before these are stored. */
export async function readSlowly(
  { db, source, simulator }: World,
  person: string,
  meanwhile: () => Promise<unknown> = async () => undefined,
): Promise<SyncEnd> {
  let happened: Promise<unknown> | undefined
  const openGraph: typeof source.openGraph = (...args) => {
    const graph = source.openGraph(...args)
    return {
      ...graph,
      request: async (request) => {
        const answer = await graph.request(request)
        if (JSON.stringify(request).includes('transitiveMemberOf')) await (happened ??= meanwhile())
        return answer
      },
    }
  }
  const [{ id: userId }] = await db.$client<
    [{ id: string }]
  >`select id from users where object_id = ${person}`
  const job = { userId, source: source.slug, tenantId: simulator.tenant.id, cause: 'login' as const }
  return await syncUser({ db, sources: new Map([[source.slug, { ...source, openGraph }]]) }, job)
}

/** Minutes later, so that whoever was told of too early is due. */
export async function laterRound(world: World) {
  await minutesPass(world.db)
  return await round(world)
}

/** What hints of a resync are about. */
export const aboutOf = ({ source, simulator }: World, resyncId: string) => ({
  resyncId,
  tenantId: simulator.tenant.id,
  source: source.slug,
})

/** Nobody takes jobs, and nothing was spent. */
export const nobody = { enqueue: async () => false, enqueueBatches: async () => false }
export const free = { requests: 0, resourceUnits: 0 }
