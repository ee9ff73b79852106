import { expect, test } from 'vitest'
import { setDisabled } from '../db/admissions.ts'
import { cancelResync, listResyncs } from '../db/resyncs.ts'
import { advanceResync, beginResync } from '../src/resync.ts'
import {
  beginDelta,
  fullsOf,
  givenDeltaWorld,
  laterRound,
  nobody,
  read,
  readSlowly,
  round,
} from './support/delta-world.ts'
import { waitForWaiter } from './support/locks.ts'
import { fastResync } from './support/resyncs.ts'
import type { World } from './support/world.ts'

const { given, storedGroups, remoteGroups } = givenDeltaWorld()

const enabledOf = async ({ db }: World, person: string) =>
  (await db.$client`select enabled from users where object_id = ${person}`)[0]?.['enabled']

test('who was read before the baseline and written down after it is read by the resync of everybody', async () => {
  const { world, workers, ids, tenant } = await given(2)
  const [person] = ids as [string]
  await workers.stop()
  const late = await readSlowly(world, person, async () => {
    tenant.removeMember(remoteGroups(person)[0]!, person)
    world.simulator.delta.forgetTokens()
    expect(await read(world, await beginDelta(world))).toMatchObject({ kind: 'expired' })
  })
  expect(late).toMatchObject({ outcome: 'unchanged' })
  await world.startWorkers(fastResync)
  expect(await fullsOf(world)).toMatchObject([{ cause: 'expired', state: 'done' }])
  await laterRound(world)
  expect(await storedGroups(person)).toEqual(remoteGroups(person))
})

test('who was read before a full resync was asked for and written down after it is read by it', async () => {
  const { world, workers, ids, tenant } = await given(2)
  const [person] = ids as [string]
  await workers.stop()
  await readSlowly(world, person, async () => {
    tenant.removeMember(remoteGroups(person)[0]!, person)
    await beginResync(world.db, world.source, { mode: 'full', cause: 'manual' })
  })
  await world.startWorkers(fastResync)
  expect(await fullsOf(world)).toMatchObject([{ cause: 'manual', state: 'done' }])
  expect(await storedGroups(person)).toEqual(remoteGroups(person))
})

test('cancelling the resync of everybody before the new links are stored does not lose what was forgotten', async () => {
  const { world, workers, ids, tenant } = await given(1)
  const [person] = ids as [string]
  const { db } = world
  await workers.stop()
  tenant.removeMember(remoteGroups(person)[0]!, person)
  await db.$client`update delta_links set obtained_at = obtained_at - interval '7 days'`
  const id = await beginDelta(world)
  const reserved = await db.$client.reserve()
  let reading: Promise<unknown>
  try {
    await reserved`begin`
    await reserved`select from resyncs where id = ${id} for no key update`
    reading = read(world, id)
    await waitForWaiter(db)
    const full = (await listResyncs(db, 9)).find(({ mode }) => mode === 'full')
    expect(full).toMatchObject({ cause: 'expired', state: 'running' })
    expect(await cancelResync(db, full!.id)).toBe(true)
    await reserved`commit`
  } finally {
    reserved.release()
  }
  await reading
  await world.startWorkers(fastResync)
  await laterRound(world)
  await fullsOf(world)
  expect(await storedGroups(person)).toEqual(remoteGroups(person))
})

test('who was disabled here while changes were forgotten is read by the next round once enabled', async () => {
  const { world, ids, tenant } = await given(1)
  const [person] = ids as [string]
  const { db } = world
  const [{ id: userId }] = await db.$client<[{ id: string }]>`select id from users`
  await setDisabled(db, userId, true)
  tenant.removeMember(remoteGroups(person)[0]!, person)
  world.simulator.delta.forgetTokens()
  expect(await round(world)).toMatchObject({ kind: 'expired' })
  await fullsOf(world)
  await setDisabled(db, userId, false)
  await laterRound(world)
  expect(await enabledOf(world, person)).toBe(true)
  expect(await storedGroups(person)).toEqual(remoteGroups(person))
})

test('what the index does not show yet when everybody is read is read later', async () => {
  const { world, ids, tenant } = await given(1)
  const [person] = ids as [string]
  world.simulator.lag.hold()
  tenant.removeMember(remoteGroups(person)[0]!, person)
  world.simulator.delta.forgetTokens()
  expect(await round(world)).toMatchObject({ kind: 'expired' })
  await fullsOf(world)
  world.simulator.lag.catchUp()
  await laterRound(world)
  expect(await storedGroups(person)).toEqual(remoteGroups(person))
})

test('who is taken while a read that began before the cutoff is under way is taken, and counted, once', async () => {
  const { world, workers, ids } = await given(2)
  const [person] = ids as [string]
  const { db, source } = world
  await workers.stop()
  let id = ''
  await readSlowly(world, person, async () => {
    id = (await beginResync(db, source, { mode: 'full', cause: 'manual' })).resync.id
    // Room for one: the oldest, whose read is under way.
    await db.$client`update users set last_synced_at = last_synced_at - interval '1 hour' where object_id = ${person}`
    await db.$client`update resyncs set spread_seconds = 7200, begins_at = clock_timestamp() - interval '10 minutes' where id = ${id}`
    // The app takes 18 at a time, or all that are left: so a source that people's own tokens read.
    const step = { ...source, resync: { ...source.resync, read: 'delegated' as const } }
    expect(await advanceResync({ db, ...nobody }, step, id)).toMatchObject({ taken: 1 })
    await db.$client`update resyncs set spread_seconds = 0 where id = ${id}`
  })
  await world.startWorkers(fastResync)
  const [ended] = await fullsOf(world)
  expect(ended).toMatchObject({ due: 2, taken: 2, done: 2 })
})
