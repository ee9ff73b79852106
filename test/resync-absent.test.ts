import { expect, test } from 'vitest'
import { givenWorld } from './support/people.ts'
import { resyncOf } from '../src/resync-settings.ts'
import { fastResync, resyncAll } from './support/resyncs.ts'

const { open, login, personIn, storedGroups, remoteGroups } = givenWorld()

/** Two whose tokens are gone, one of whom was here yesterday. */
async function given(policy: string, more: Record<string, string> = {}) {
  const world = await open({
    backend: 'postgres',
    environment: { ABSENT_POLICY: policy, ABSENT_AFTER_DAYS: '30', ...more },
  })
  const workers = await world.startWorkers(fastResync)
  const [absent, recent] = [personIn(2), personIn(2)]
  for (const person of [absent, recent]) await login(person)
  const sql = world.db.$client
  await sql`update delegated_tokens set state = 'needs_login', reason = 'AADSTS700082'`
  await sql`update users set last_login_at = now() - interval '31 days' where object_id = ${absent}`
  return { world, workers, absent, recent }
}

test('who does not come back is kept as stored by default, and counted', async () => {
  const { world, absent } = await given('keep')
  expect(await resyncAll(world.db, world.source)).toMatchObject({ state: 'done', needsLogin: 2, changed: 0 })
  expect(await storedGroups(absent)).toEqual(remoteGroups(absent).toSorted())
})

test('who does not come back is frozen where the rule says so, and thaws with the next run', async () => {
  const { world, absent } = await given('freeze')
  const frozen = async () =>
    (await world.db.$client`select object_id from users where frozen_at is not null`).map(
      (row) => row['object_id'],
    )
  expect(await resyncAll(world.db, world.source)).toMatchObject({ state: 'done', needsLogin: 2, changed: 0 })
  expect(await frozen()).toEqual([absent])
  expect(await storedGroups(absent)).toEqual(remoteGroups(absent).toSorted())
  const again = await resyncAll(world.db, world.source)
  expect(await world.db.$client`select from sync_runs where resync_id = ${again.id}`).toHaveLength(0)
  expect(await login(absent)).toMatchObject({ outcome: 'unchanged' })
  expect(await frozen()).toEqual([])
})

test('who does not come back loses what is stored where the rule says so, by the change log, and gets it back', async () => {
  const { world, absent, recent } = await given('remove')
  const ended = await resyncAll(world.db, world.source)
  expect(ended).toMatchObject({ state: 'done', needsLogin: 1, changed: 1 })
  expect(await storedGroups(absent)).toEqual([])
  expect(await storedGroups(recent)).toEqual(remoteGroups(recent).toSorted())
  const log = await world.db.$client`
    select r.cause, r.resync_id as resync, c.change from membership_changes c join sync_runs r on r.id = c.run_id where c.change = 'removed'`
  const removed = { cause: 'absent', resync: ended.id, change: 'removed' }
  expect(log).toEqual([removed, removed])
  const again = await resyncAll(world.db, world.source)
  expect(await world.db.$client`select from sync_runs where resync_id = ${again.id}`).toHaveLength(0)
  expect(await login(absent)).toMatchObject({ outcome: 'applied' })
  expect(await storedGroups(absent)).toEqual(remoteGroups(absent).toSorted())
})

test('the guard holds also what that rule removes', async () => {
  const { world, absent } = await given('remove', { GUARD_MIN_REMOVALS: '2', GUARD_MAX_SHARE: '50' })
  expect(await resyncAll(world.db, world.source)).toMatchObject({ state: 'done', held: 1, changed: 0 })
  expect(await storedGroups(absent)).toEqual(remoteGroups(absent).toSorted())
})

test('who was frozen before the rule was to remove loses what is stored as well, and stays frozen while that is held', async () => {
  const guards = { GUARD_MIN_REMOVALS: '2', GUARD_MAX_SHARE: '50' }
  const { world, workers, absent } = await given('freeze', guards)
  await resyncAll(world.db, world.source)
  const frozen = async () => await world.db.$client`select from users where frozen_at is not null`
  expect(await frozen()).toHaveLength(1)
  const resync = resyncOf({ absent: 'remove', absentAfterDays: 30 })
  await workers.reload([{ slug: world.source.slug, resync }])
  const held = await resyncAll(world.db, world.source)
  expect(held).toMatchObject({ state: 'done', held: 1, changed: 0 })
  expect(await frozen()).toHaveLength(1)
  await world.db.$client`update sync_runs set approved_at = now() where resync_id = ${held.id}`
  expect(await resyncAll(world.db, world.source)).toMatchObject({ state: 'done', changed: 1 })
  expect(await storedGroups(absent)).toEqual([])
  expect(await frozen()).toHaveLength(1)
})
