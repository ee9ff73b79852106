import { describe, expect, test } from 'vitest'
import { createEnqueue } from '../src/queue/enqueue.ts'
import { approveHeldResync } from '../src/resync.ts'
import { defaultClientId } from '../src/simulator/index.ts'
import { givenAppWorld } from './support/app-world.ts'
import { fastResync, resyncAll } from './support/resyncs.ts'
import { availableBackends, type World } from './support/world.ts'

const { open, login, personIn, storedGroups, remoteGroups } = givenAppWorld()

/** People who have signed in and been synced once, and can't be read with tokens of their own any more. */
async function known({ db }: World, count: number, groups = 1): Promise<string[]> {
  const people = Array.from({ length: count }, () => personIn(groups))
  for (const person of people) await login(person)
  await db.$client`update delegated_tokens set state = 'needs_login', reason = 'AADSTS50173'`
  return people
}

const batches = ({ simulator }: World) => simulator.requests.all({ path: /\$batch$/ }).length

describe.each(availableBackends())('with the queue in %s', (backend) => {
  test('the app reads eighteen people with a request, whatever has become of their own tokens', async () => {
    const world = await open(backend)
    const { db, simulator, source } = world
    await world.startWorkers(fastResync)
    const people = await known(world, 20)
    const group = simulator.tenant.addGroup({ displayName: 'New', kind: 'security' }).id
    for (const person of people.slice(0, 3)) simulator.tenant.addMember(group, person)
    simulator.tenant.removeMember(remoteGroups(people[4]!)[0]!, people[4]!)
    const before = batches(world)
    const ended = await resyncAll(db, source)
    expect(ended).toMatchObject({ state: 'done', due: 20, done: 20, changed: 4, needsLogin: 0, failed: 0 })
    expect([batches(world) - before, ended.requests]).toEqual([2, 2])
    for (const person of people) expect(await storedGroups(person)).toEqual(remoteGroups(person).toSorted())
    const runs =
      await db.$client`select from sync_runs where resync_id = ${ended.id} and graph_request_id is not null`
    expect(runs).toHaveLength(20)
  })
})

test('who is gone is disabled, signed out and leaves the groups; who is kept from signing in keeps them', async () => {
  const world = await open('postgres', { GUARD_MIN_REMOVALS: '2', GUARD_MAX_SHARE: '50' })
  const { db, simulator, source } = world
  await world.startWorkers(fastResync)
  const [gone, disabled, other] = await known(world, 3, 2)
  await db.$client`insert into sessions (id, user_id, source, ends_at)
    select gen_random_uuid(), id, 'entra-id', now() + interval '1 hour' from users`
  simulator.tenant.deleteUser(gone!)
  simulator.tenant.updateUser(disabled!, { accountEnabled: false })
  expect(await resyncAll(db, source)).toMatchObject({ state: 'done', done: 3, changed: 1, held: 0 })
  expect(await storedGroups(gone!)).toEqual([])
  expect(await storedGroups(disabled!)).toEqual(remoteGroups(disabled!).toSorted())
  const enabled = await db.$client`select object_id as id from users where enabled`
  expect(enabled).toEqual([{ id: other }])
  const signedIn = await db.$client`select u.object_id as id from sessions s join users u on u.id = s.user_id`
  expect(signedIn).toEqual([{ id: other }])
  simulator.tenant.updateUser(disabled!, { accountEnabled: true })
  await resyncAll(db, source)
  expect(await db.$client`select disabled_by as by from users where object_id = ${disabled!}`).toEqual([
    { by: null },
  ])
})

test('a permission that is missing changes nobody, and each run says so', async () => {
  const world = await open('postgres')
  const { db, simulator, source } = world
  await world.startWorkers(fastResync)
  const people = await known(world, 2)
  simulator.appRoles(defaultClientId, [])
  simulator.tenant.removeMember(remoteGroups(people[0]!)[0]!, people[0]!)
  const ended = await resyncAll(db, source)
  expect(ended).toMatchObject({ state: 'done', done: 2, denied: 2, changed: 0 })
  const runs =
    await db.$client`select outcome, error_code as code from sync_runs where resync_id = ${ended.id}`
  expect(runs).toEqual(Array.from({ length: 2 }, () => ({ outcome: 'denied', code: 'access_denied' })))
  expect(await storedGroups(people[0]!)).toHaveLength(1)
})

test('one of the people whose answer is a refusal keeps nobody else from being read', async () => {
  const world = await open('postgres')
  const { db, simulator, source } = world
  await world.startWorkers(fastResync)
  const [unlucky, ...others] = await known(world, 4)
  const group = simulator.tenant.addGroup({ displayName: 'New', kind: 'security' }).id
  for (const person of others) simulator.tenant.addMember(group, person)
  simulator.faults.next({ on: { path: new RegExp(`${unlucky!}/transitiveMemberOf`) }, status: 500 })
  expect(await resyncAll(db, source)).toMatchObject({ state: 'done', done: 4, changed: 3, failed: 1 })
  for (const person of others) expect(await storedGroups(person)).toContain(group)
})

test('an app that lost the permission for hidden groups removes nothing, and who is gone leaves those too', async () => {
  const world = await open('postgres')
  const { db, simulator, source } = world
  const usual = ['User.Read.All', 'GroupMember.Read.All']
  simulator.appRoles(defaultClientId, [...usual, 'Member.Read.Hidden'])
  await world.startWorkers(fastResync)
  const [person, leaver] = await known(world, 2, 2)
  const { tenant } = simulator
  const board = tenant.addGroup({
    displayName: 'Board',
    kind: 'microsoft365',
    visibility: 'HiddenMembership',
  }).id
  for (const each of [person!, leaver!]) tenant.addMember(board, each)
  expect(await resyncAll(db, source)).toMatchObject({ state: 'done', changed: 2 })
  expect(await storedGroups(person!)).toHaveLength(3)
  simulator.appRoles(defaultClientId, usual)
  // A token that is refused is had anew.
  simulator.faults.next({ on: { path: /\$batch$/ }, status: 401 })
  tenant.deleteUser(leaver!)
  expect(await resyncAll(db, source)).toMatchObject({ state: 'done', held: 1, changed: 1 })
  expect(await storedGroups(person!)).toHaveLength(3)
  expect(await storedGroups(leaver!)).toEqual([])
})

test('an approval is carried out by the next resync of the app where people have no tokens of their own', async () => {
  const world = await open('postgres', { GUARD_RESYNC_MIN_REMOVALS: '2', GUARD_RESYNC_MAX_SHARE: '10' })
  const { db, simulator, source, context } = world
  await world.startWorkers(fastResync)
  const people = await known(world, 3)
  for (const person of people) simulator.tenant.removeMember(remoteGroups(person)[0]!, person)
  const held = await resyncAll(db, source)
  expect(held).toMatchObject({ state: 'held', held: 2, changed: 1 })
  const enqueue = createEnqueue(context.producer)
  expect(await approveHeldResync({ db, enqueue }, held.id)).toBe(2)
  expect(await resyncAll(db, source)).toMatchObject({ state: 'done', held: 0, changed: 2 })
  for (const person of people) expect(await storedGroups(person)).toEqual([])
})
