import { expect, test, vi } from 'vitest'
import { readHints } from '../src/delta.ts'
import { Throttled } from '../src/errors.ts'
import { beginDelta, givenDeltaWorld, read, round } from './support/delta-world.ts'
import { endOf, fastResync, resyncAll } from './support/resyncs.ts'
import type { World } from './support/world.ts'

const { given, login, storedGroups, remoteGroups } = givenDeltaWorld()

async function withShared(count: number, environment?: Record<string, string>) {
  const known = await given(count, environment)
  const { tenant, ids, world } = known
  const shared = tenant.addGroup({ displayName: 'Shared', kind: 'security' }).id
  for (const id of ids) tenant.addMember(shared, id)
  await round(world)
  for (const id of ids) expect(await storedGroups(id)).toContain(shared)
  return { ...known, shared }
}

/** A round that is over before anybody whom it is about is read: else a fast worker may notice a deletion before it. */
async function roundFirst({ world, workers }: Pick<Awaited<ReturnType<typeof given>>, 'world' | 'workers'>) {
  await workers.stop()
  const id = await beginDelta(world)
  const end = await read(world, id)
  await world.startWorkers(fastResync)
  return { ...end, resync: await endOf(world.db, id) }
}

async function isMarked({ db }: World, objectId: string): Promise<unknown> {
  const [row] =
    await db.$client`select deleted_at is not null as marked from groups where object_id = ${objectId}`
  return row?.['marked']
}

const removalsOf = async ({ db }: World, objectId: string) =>
  await db.$client<{ person: string; runId: string }[]>`
    select u.object_id as person, c.run_id as "runId" from membership_changes c
      join groups g on g.id = c.group_id join users u on u.id = c.user_id
    where g.object_id = ${objectId} and c.change = 'removed'`

const asked = ({ simulator }: World, objectId: string) =>
  simulator.requests.all({ path: `/v1.0/groups/${objectId}` }).length

const forgetPause = async ({ db }: World) => await db.$client`delete from tenant_budgets`

test('a group that Graph tells to be deleted, and does not find, is marked and left by everybody in it, once each', async () => {
  const { workers, world, ids, tenant, shared } = await withShared(3)
  tenant.deleteGroup(shared)
  const { deletions, resync } = await roundFirst({ world, workers })
  expect(deletions).toMatchObject({ asked: 1, groups: 1, memberships: 3 })
  expect(resync).toMatchObject({ state: 'done', done: 3, failed: 0 })
  expect(await isMarked(world, shared)).toBe(true)
  const removals = await removalsOf(world, shared)
  expect(removals.map(({ person }) => person).toSorted()).toEqual(ids.toSorted())
  expect(new Set(removals.map(({ runId }) => runId))).toEqual(new Set([deletions?.run]))
  for (const id of ids) expect(await storedGroups(id)).toEqual(remoteGroups(id).toSorted())
  expect((await round(world)).deletions).toBeUndefined()
})

test('a deleted group is marked also where nobody is left in it, and whatever it was in is left with it', async () => {
  const { workers, world, ids, tenant, shared } = await withShared(2)
  const [outer, empty] = ['Outer', 'Empty'].map(
    (displayName) => tenant.addGroup({ displayName, kind: 'security' }).id,
  )
  tenant.addMember(outer!, shared)
  tenant.addMember(empty!, ids[0]!)
  await round(world)
  tenant.removeMember(empty!, ids[0]!)
  await round(world)
  for (const group of [shared, empty!]) tenant.deleteGroup(group)
  expect((await roundFirst({ world, workers })).deletions).toMatchObject({
    asked: 2,
    groups: 2,
    memberships: 2,
  })
  for (const group of [shared, empty!]) expect(await isMarked(world, group)).toBe(true)
  for (const id of ids) expect(await storedGroups(id)).not.toContain(outer)
})

test.for([200, 403, 410, 500])(
  'a group told to be deleted for which Graph then answers %i is not marked, and who left it leaves by their own read',
  async (status) => {
    const { workers, world, ids, tenant, shared } = await withShared(2)
    tenant.deleteGroup(shared)
    world.simulator.faults.next({ on: { path: `/v1.0/groups/${shared}` }, status, body: { id: shared } })
    expect((await roundFirst({ world, workers })).deletions).toMatchObject({
      asked: 1,
      groups: 0,
      memberships: 0,
    })
    expect(await isMarked(world, shared)).toBe(false)
    for (const id of ids) expect(await storedGroups(id)).toEqual(remoteGroups(id).toSorted())
  },
)

test('where the question is throttled the tenant pauses, and the next round asks it again', async () => {
  const { workers, world, tenant, shared } = await withShared(2)
  tenant.deleteGroup(shared)
  const on = { path: `/v1.0/groups/${shared}` }
  world.simulator.faults.next({ on, status: 429, headers: { 'Retry-After': '60' } })
  await workers.stop()
  const id = await beginDelta(world)
  await expect(read(world, id)).rejects.toMatchObject({ code: 'throttled' })
  expect((await world.budget.state())?.pausedMs).toBeGreaterThan(50_000)
  expect(await isMarked(world, shared)).toBe(false)
  await forgetPause(world)
  expect((await read(world, id)).deletions).toMatchObject({ asked: 1, groups: 1 })
  await world.startWorkers(fastResync)
  expect(await endOf(world.db, id)).toMatchObject({ state: 'done' })
})

test('deletions that would take too much from everybody mark nothing, and the reads of the people are held', async () => {
  const limits = { GUARD_RESYNC_MIN_REMOVALS: '3', GUARD_RESYNC_MAX_SHARE: '1' }
  const { workers, world, ids, tenant, shared } = await withShared(3, limits)
  tenant.deleteGroup(shared)
  const { deletions, resync } = await roundFirst({ world, workers })
  expect(deletions).toMatchObject({ groups: 0, memberships: 0, held: 3 })
  expect(resync).toMatchObject({ state: 'held' })
  expect(await isMarked(world, shared)).toBe(false)
  // The guard lets so many of them pass as stay below its limit.
  expect(await removalsOf(world, shared)).toHaveLength(ids.length - 1)
})

test('what left with a deleted group counts as removed by its resync', async () => {
  const limits = { GUARD_RESYNC_MIN_REMOVALS: '4', GUARD_RESYNC_MAX_SHARE: '1' }
  const { workers, world, ids, tenant, shared } = await withShared(3, limits)
  const own = remoteGroups(ids[0]!).find((group) => group !== shared)!
  tenant.deleteGroup(shared)
  tenant.removeMember(own, ids[0]!)
  const { deletions, resync } = await roundFirst({ world, workers })
  expect(deletions).toMatchObject({ groups: 1, memberships: 3 })
  expect(resync).toMatchObject({ state: 'held', held: 1 })
  expect(await storedGroups(ids[0]!)).toEqual([own])
})

test('a round stops asking once somebody else is told to wait, makes no pause of its own, and is read again', async () => {
  const { world, ids, tenant } = await given(2)
  const [outer, ...inner] = ['Outer', 'First', 'Second', 'Third'].map(
    (displayName) => tenant.addGroup({ displayName, kind: 'security' }).id,
  )
  for (const group of inner) tenant.addMember(group, ids[0]!)
  await round(world)
  for (const group of inner) tenant.addMember(outer!, group)
  const { source, simulator, budget, db } = world
  simulator.requests.clear()
  const openGraph: typeof source.openGraph = (...args) => {
    const graph = source.openGraph(...args)
    return {
      ...graph,
      request: async (request) => {
        if (request.path.includes('transitiveMembers'))
          await budget.pause('high', new Throttled(60_000, 'told a sign-in'))
        return await graph.request(request)
      },
    }
  }
  const id = await beginDelta(world)
  const about = { resyncId: id, tenantId: tenant.id }
  await expect(readHints(db, { ...source, openGraph }, about)).rejects.toMatchObject({ code: 'throttled' })
  expect(simulator.requests.all({ path: /transitiveMembers/ })).toHaveLength(1)
  const [{ generation } = {}] = await db.$client`select generation from tenant_budgets`
  expect(generation).toBe(1)
  await forgetPause(world)
  await read(world, id)
  await endOf(db, id)
  expect(await storedGroups(ids[0]!)).toEqual(remoteGroups(ids[0]!).toSorted())
})

test('a resync by the app marks a deleted group that somebody left, by one question for a batch', async () => {
  const { world, ids, shared, tenant } = await withShared(3)
  const [away, ...others] = ids
  await world.db.$client`update users set enabled = false, disabled_by = 'local' where object_id = ${away!}`
  tenant.deleteGroup(shared)
  await resyncAll(world.db, world.source)
  for (const id of others) expect(await storedGroups(id)).toEqual(remoteGroups(id).toSorted())
  // The resync is over with the last person's run, which the question follows.
  await vi.waitFor(async () => expect(await isMarked(world, shared)).toBe(true), 20_000)
  expect(await storedGroups(away!)).not.toContain(shared)
  expect(asked(world, shared)).toBe(1)
})

async function withOuter(environment?: Record<string, string>) {
  const known = await withShared(3, environment)
  const { tenant, world, ids, shared } = known
  const outer = tenant.addGroup({ displayName: 'Outer', kind: 'security' }).id
  tenant.addMember(outer, shared)
  await round(world)
  for (const id of ids) expect(await storedGroups(id)).toContain(outer)
  return { ...known, outer }
}

test('who left a deleted group as somebody else was read is read by the next round for what the group was in', async () => {
  const { world, ids, tenant, shared } = await withOuter()
  tenant.deleteGroup(shared)
  await login(ids[0]!)
  expect(await isMarked(world, shared)).toBe(true)
  for (const id of ids) expect(await storedGroups(id)).not.toContain(shared)
  await round(world)
  for (const id of ids) expect(await storedGroups(id)).toEqual(remoteGroups(id).toSorted())
})

test('who leaves a deleted group while changes are told is read by the same round', async () => {
  const { world, ids, tenant, shared } = await withOuter()
  const { source, db } = world
  tenant.deleteGroup(shared)
  const openGraph: typeof source.openGraph = (...args) => {
    const graph = source.openGraph(...args)
    return {
      ...graph,
      request: async (request) => {
        if (request.path.includes('/groups/delta')) await login(ids[0]!)
        return await graph.request(request)
      },
    }
  }
  const id = await beginDelta(world)
  await readHints(db, { ...source, openGraph }, { resyncId: id, tenantId: tenant.id })
  await endOf(db, id)
  for (const person of ids) expect(await storedGroups(person)).toEqual(remoteGroups(person).toSorted())
})
