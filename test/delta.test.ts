import { expect, test, vi } from 'vitest'
import { listResyncs } from '../db/resyncs.ts'
import { readHints } from '../src/delta.ts'
import { beginResync } from '../src/resync.ts'
import { givenAppWorld } from './support/app-world.ts'
import { endOf, fastResync, minutesPass } from './support/resyncs.ts'
import type { World } from './support/world.ts'

const { open, login, personIn, storedGroups, remoteGroups } = givenAppWorld()

/** A tenant whose people are synced, and that was asked once what changes. */
async function given(people: number) {
  const world = await open('postgres')
  await world.startWorkers(fastResync)
  const ids = Array.from({ length: people }, () => personIn(1))
  for (const id of ids) await login(id)
  expect(await round(world)).toMatchObject({ kind: 'baseline', hinted: 0 })
  return { world, ids, tenant: world.simulator.tenant }
}

/** One round of changes, and the resync it makes, to its end. */
async function round({ db, source, simulator }: World) {
  const { resync } = await beginResync(db, source, { mode: 'delta', cause: 'schedule' })
  const end = await readHints(db, source, { resyncId: resync.id, tenantId: simulator.tenant.id })
  return { ...end, resync: await endOf(db, resync.id) }
}

const everybodyIsRight = async (ids: readonly string[]) => {
  for (const id of ids) expect(await storedGroups(id)).toEqual(remoteGroups(id).toSorted())
}

test('a quiet tenant costs two requests, and nobody is read', async () => {
  const { world } = await given(3)
  const before = world.simulator.requests.all({}).length
  const { resync, ...end } = await round(world)
  expect(end).toEqual({ kind: 'changes', entries: 0, hinted: 0 })
  expect(resync).toMatchObject({ state: 'done', due: 0, done: 0, requests: 2 })
  expect(world.simulator.requests.all({}).length - before).toBeLessThanOrEqual(4)
})

test('whoever joined or left a group is read, and nobody else', async () => {
  const { world, ids, tenant } = await given(5)
  const group = tenant.addGroup({ displayName: 'New', kind: 'security' }).id
  tenant.addMember(group, ids[0]!)
  tenant.removeMember(remoteGroups(ids[1]!)[0]!, ids[1]!)
  tenant.addMember(group, tenant.addUser({ displayName: 'Nobody here' }).id)
  const { hinted, resync } = await round(world)
  expect([hinted, resync.done, resync.changed]).toEqual([2, 2, 2])
  await everybodyIsRight(ids)
})

test('whom a change concerned is read once more minutes later, should it have been too early, however many rounds there are', async () => {
  const { world, ids, tenant } = await given(2)
  const { lag } = world.simulator
  lag.hold()
  tenant.removeMember(remoteGroups(ids[0]!)[0]!, ids[0]!)
  expect(await round(world)).toMatchObject({ hinted: 1, resync: { done: 1, changed: 0 } })
  const group = tenant.addGroup({ displayName: 'New', kind: 'security' }).id
  tenant.addMember(group, ids[0]!)
  expect(await round(world)).toMatchObject({ hinted: 1, resync: { done: 1, changed: 0 } })
  expect(await round(world)).toMatchObject({ hinted: 0, resync: { done: 0 } })
  lag.catchUp()
  await minutesPass(world.db)
  expect(await round(world)).toMatchObject({ hinted: 0, resync: { done: 1, changed: 1 } })
  await everybodyIsRight(ids)
  // What a late read adds is looked at once more, too.
  await minutesPass(world.db)
  expect(await round(world)).toMatchObject({ hinted: 0, resync: { done: 1, changed: 0 } })
  await minutesPass(world.db)
  expect(await round(world)).toMatchObject({ hinted: 0, resync: { done: 0 } })
})

test('a group that comes into or out of another has everybody in it read, however deep', async () => {
  const { world, ids, tenant } = await given(4)
  const [outer, middle, inner] = ['outer', 'middle', 'inner'].map(
    (displayName) => tenant.addGroup({ displayName, kind: 'security' }).id,
  )
  tenant.addMember(middle!, inner!)
  for (const id of ids.slice(0, 3)) tenant.addMember(inner!, id)
  await round(world)
  tenant.addMember(outer!, middle!)
  const joined = await round(world)
  expect(joined.resync).toMatchObject({ done: 3, changed: 3 })
  await everybodyIsRight(ids)
  tenant.removeMember(outer!, middle!)
  expect((await round(world)).resync).toMatchObject({ done: 3, changed: 3 })
  await everybodyIsRight(ids)
})

test('a deleted group is left by everybody, a renamed one has its name, and who is deleted or disabled is out', async () => {
  const { world, ids, tenant } = await given(4)
  const { db } = world
  const [shared, renamed] = ['shared', 'before'].map(
    (displayName) => tenant.addGroup({ displayName, kind: 'security' }).id,
  )
  for (const id of ids) for (const group of [shared!, renamed!]) tenant.addMember(group, id)
  await round(world)
  tenant.deleteGroup(shared!)
  tenant.updateGroup(renamed!, { displayName: 'after' })
  tenant.deleteUser(ids[2]!)
  tenant.updateUser(ids[3]!, { accountEnabled: false })
  await round(world)
  await everybodyIsRight(ids.slice(0, 2))
  expect(await storedGroups(ids[2]!)).toEqual([])
  expect(await db.$client`select display_name as name from groups where object_id = ${renamed!}`).toEqual([
    { name: 'after' },
  ])
  const enabled = await db.$client<{ id: string }[]>`select object_id as id from users where enabled`
  expect(enabled.map(({ id }) => id).toSorted()).toEqual(ids.slice(0, 2).toSorted())
})

test.for([400, 410, 'reset'] as const)(
  'a link that is answered %s begins anew, with everybody',
  async (expired) => {
    const { world, ids, tenant } = await given(3)
    world.simulator.delta.set({ expired })
    tenant.removeMember(remoteGroups(ids[0]!)[0]!, ids[0]!)
    world.simulator.delta.forgetTokens()
    expect(await round(world)).toMatchObject({ kind: 'expired', hinted: 0 })
    expect(await round(world)).toMatchObject({ kind: 'changes' })
  },
)

test('a link of six days is not asked any more', async () => {
  const { world } = await given(1)
  await world.db.$client`update delta_links set obtained_at = now() - interval '6 days 1 minute'`
  expect(await round(world)).toMatchObject({ kind: 'expired' })
})

test('changes that are read only in part are read again, and pages may be empty, repeated and replayed', async () => {
  const { world, ids, tenant } = await given(6)
  world.simulator.delta.set({ pageSize: 2, membersPerPage: 1, emptyPages: 1, repeats: 1, replays: 2 })
  const group = tenant.addGroup({ displayName: 'New', kind: 'security' }).id
  for (const id of ids) tenant.addMember(group, id)
  world.simulator.faults.next({ on: { path: '/groups/delta', page: 2 }, status: 500 })
  const { db, source } = world
  const { resync } = await beginResync(db, source, { mode: 'delta', cause: 'schedule' })
  const about = { resyncId: resync.id, tenantId: tenant.id }
  await expect(readHints(db, source, about)).rejects.toMatchObject({ code: 'graph_unavailable' })
  expect(await round(world)).toMatchObject({ kind: 'changes', resync: { id: resync.id, state: 'done' } })
  await everybodyIsRight(ids)
})

test('the schedule reads changes by itself, and where they are forgotten everybody', async () => {
  const world = await open('postgres', { RESYNC_DELTA: 'every 1m' })
  await world.startWorkers(fastResync)
  const id = personIn(1)
  await login(id)
  const kinds = async () =>
    (await listResyncs(world.db, 9)).map(({ mode, cause, state }) => `${mode} ${cause} ${state}`)
  await vi.waitFor(async () => expect(await kinds()).toEqual(['delta schedule done']), 20_000)
  await world.db.$client`update delta_links set obtained_at = now() - interval '7 days'`
  const queue = world.context.backend.openResyncQueue()
  await queue.add('start-resync', { source: 'entra-id', mode: 'delta' })
  await vi.waitFor(async () => expect(await kinds()).toContain('full expired running'), 20_000)
})

test.for(['never known here', 'known here once'])(
  'whoever has a group through one of hidden membership, %s, is read where that leaves it',
  async (how) => {
    const { world, ids, tenant } = await given(1)
    const { db } = world
    const [person] = ids as [string]
    const outer = tenant.addGroup({ displayName: 'Outer', kind: 'security' }).id
    const hidden = tenant.addGroup({
      displayName: 'Hidden',
      kind: 'microsoft365',
      visibility: 'HiddenMembership',
    }).id
    tenant.addMember(outer, hidden)
    tenant.addMember(hidden, person)
    await login(person)
    expect(await storedGroups(person)).toContain(outer)
    // Somebody who has left since, or a sign-in flow of another source that may see it.
    if (how === 'known here once')
      await db.$client`insert into groups (tenant_id, object_id, display_name) values (${tenant.id}, ${hidden}, 'Hidden')`
    await round(world)
    tenant.removeMember(outer, hidden)
    await round(world)
    expect(await storedGroups(person)).not.toContain(outer)
  },
)

test('somebody who left a group, told without a type, is read, and not everybody in the group', async () => {
  const { world, ids, tenant } = await given(5)
  const big = tenant.addGroup({ displayName: 'Big', kind: 'security' }).id
  for (const id of ids) tenant.addMember(big, id)
  await round(world)
  for (const id of ids) expect(await storedGroups(id)).toContain(big)
  tenant.removeMember(big, ids[0]!)
  world.simulator.faults.next({
    on: { path: '/groups/delta' },
    rewrite: (body) =>
      JSON.parse(JSON.stringify(body).replaceAll('"@odata.type":"#microsoft.graph.user",', '')) as unknown,
  })
  expect(await round(world)).toMatchObject({ kind: 'changes', hinted: 1 })
})
