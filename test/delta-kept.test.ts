import { expect, test } from 'vitest'
import { setDisabled } from '../db/admissions.ts'
import { endHints } from '../db/hints.ts'
import { cancelResync, failForsakenResyncs, listResyncs } from '../db/resyncs.ts'
import { advanceResync } from '../src/resync.ts'
import {
  aboutOf,
  beginDelta,
  free,
  fullsOf,
  nobody,
  read,
  round,
  givenDeltaWorld,
  laterRound,
} from './support/delta-world.ts'
import { endOf, fastResync, minutesPass } from './support/resyncs.ts'

const { given, storedGroups, remoteGroups } = givenDeltaWorld()

test('of whom was told in a resync that no worker looks after, or that is cancelled, is read by the next', async () => {
  const { world, workers, ids, tenant } = await given(2)
  const { db } = world
  await workers.stop()
  for (const id of ids) tenant.removeMember(remoteGroups(id)[0]!, id)
  const forsaken = await beginDelta(world)
  expect(await read(world, forsaken)).toMatchObject({ kind: 'changes', hinted: 2 })
  await db.$client`update resyncs set begins_at = now() - interval '1 hour', tended_at = now() - interval '1 hour'`
  expect(await failForsakenResyncs(db, ['other'], 600)).toEqual([forsaken])
  await minutesPass(db)
  const cancelled = await beginDelta(world)
  expect(await read(world, cancelled)).toMatchObject({ kind: 'changes', hinted: 0 })
  expect(await db.$client`select from resync_users`).toHaveLength(2)
  await cancelResync(db, cancelled)
  expect(await db.$client`select from resync_users`).toHaveLength(0)
  await minutesPass(db)
  await world.startWorkers(fastResync)
  expect(await round(world)).toMatchObject({ kind: 'changes', hinted: 0, resync: { done: 2, changed: 2 } })
  expect(await storedGroups(ids[0]!)).toEqual([])
})

test.for(['cancelled', 'forsaken'])(
  'that changes were forgotten is not forgotten where the resync of everybody is %s',
  async (how) => {
    const { world, workers, ids, tenant } = await given(2)
    const { db } = world
    await workers.stop()
    tenant.removeMember(remoteGroups(ids[0]!)[0]!, ids[0]!)
    world.simulator.delta.forgetTokens()
    expect(await read(world, await beginDelta(world))).toMatchObject({ kind: 'expired' })
    const late = await beginDelta(world)
    const everybody = (await listResyncs(db, 9)).filter(({ mode }) => mode === 'full').map(({ id }) => id)
    if (how === 'cancelled') for (const id of everybody) await cancelResync(db, id)
    await db.$client`update resyncs set begins_at = now() - interval '1 hour', tended_at = null where mode = 'full'`
    expect(await failForsakenResyncs(db, ['other'], 600)).toEqual(how === 'cancelled' ? [] : everybody)
    // A round that had read its links before.
    await endHints(db, { ...aboutOf(world, late), ...free }, [{ resource: 'users', link: 'l' }])
    await world.startWorkers(fastResync)
    await endOf(db, late)
    expect(await round(world)).toMatchObject({ kind: 'expired' })
    expect((await fullsOf(world))[0]).toMatchObject({ state: 'done', done: 2, changed: 1 })
    expect(await storedGroups(ids[0]!)).toEqual([])
  },
)

test.for(['changes', 'everybody'])(
  'who was given up by a resync of %s is read by the next round',
  async (what) => {
    const { world, workers, ids, tenant } = await given(2)
    const { db, source } = world
    await workers.stop()
    tenant.removeMember(remoteGroups(ids[0]!)[0]!, ids[0]!)
    if (what === 'everybody') world.simulator.delta.forgetTokens()
    const round1 = await beginDelta(world)
    await read(world, round1)
    const id = (await listResyncs(db, 1))[0]!.id
    await advanceResync({ db, ...nobody }, source, id)
    await db.$client`update sync_runs set started_at = started_at - interval '8 hours'`
    await db.$client`update resync_users set taken_at = taken_at - interval '7 hours'`
    expect(await advanceResync({ db, ...nobody }, source, id)).toMatchObject({
      state: 'done',
      failed: what === 'changes' ? 1 : 2,
    })
    await minutesPass(db)
    await world.startWorkers(fastResync)
    await endOf(db, round1)
    expect((await round(world)).resync).toMatchObject({ changed: 1 })
    expect(await storedGroups(ids[0]!)).toEqual([])
  },
)

test('of whom is told while they are disabled here is read once they are enabled', async () => {
  const { world, ids, tenant } = await given(1)
  const { db } = world
  const [{ id }] = await db.$client<[{ id: string }]>`select id from users`
  await setDisabled(db, id, true)
  tenant.removeMember(remoteGroups(ids[0]!)[0]!, ids[0]!)
  expect((await round(world)).resync).toMatchObject({ done: 0 })
  await minutesPass(db)
  expect((await round(world)).resync).toMatchObject({ done: 0 })
  await setDisabled(db, id, false)
  expect((await round(world)).resync).toMatchObject({ done: 1, changed: 1 })
})

test('who has a group that its new name keeps out is read by the round that tells of the name', async () => {
  const { world, ids, tenant } = await given(3, { GROUP_FILTER_EXCLUDE_NAMES: '^old-' })
  const [first, second] = ids
  expect(await storedGroups(first!)).toHaveLength(1)
  tenant.renameGroup(remoteGroups(first!)[0]!, 'old-group')
  tenant.renameGroup(remoteGroups(second!)[0]!, 'another group')
  expect(await round(world)).toMatchObject({ hinted: 1, resync: { done: 1, changed: 1 } })
  expect(await storedGroups(first!)).toEqual([])
  expect(await storedGroups(second!)).toHaveLength(1)
  expect(await round(world)).toMatchObject({ kind: 'changes', hinted: 0 })
})

test('who was told of in rounds that were cancelled is read by the next one', async () => {
  const { world, workers, ids, tenant } = await given(1)
  const [person] = ids as [string]
  const { db } = world
  await workers.stop()
  tenant.removeMember(remoteGroups(person)[0]!, person)
  for (let index = 0; index < 6; index += 1) {
    const id = await beginDelta(world)
    await read(world, id)
    await cancelResync(db, id)
    await minutesPass(db)
  }
  await world.startWorkers(fastResync)
  await laterRound(world)
  expect(await storedGroups(person)).toEqual(remoteGroups(person))
})
