import { expect, test } from 'vitest'
import { endHints, hintUsers } from '../db/hints.ts'
import { cancelResync, listResyncs } from '../db/resyncs.ts'
import { reconcile } from '../src/reconcile/reconcile.ts'
import { advanceResync } from '../src/resync.ts'
import {
  aboutOf,
  beginDelta,
  free,
  givenDeltaWorld,
  laterRound,
  nobody,
  read,
  readSlowly,
} from './support/delta-world.ts'
import { endOf, fastResync, minutesPass } from './support/resyncs.ts'
import type { World } from './support/world.ts'

const { given, storedGroups, remoteGroups } = givenDeltaWorld()

const enabledOf = async ({ db }: World, person: string) =>
  (await db.$client`select enabled from users where object_id = ${person}`)[0]?.['enabled']

test('somebody gone leaves their groups and is disabled at once, or neither', async () => {
  const { world, workers, ids, tenant } = await given(1)
  const [person] = ids as [string]
  const { db } = world
  await workers.stop()
  tenant.deleteUser(person)
  const told = await beginDelta(world)
  await read(world, told)
  await cancelResync(db, told)
  await minutesPass(db)
  // Stands for the death of the worker, or of its connection, between the two statements.
  await db.$client.unsafe(`create function fail_here() returns trigger language plpgsql as
    $$ begin raise exception 'cut' using errcode = '57P01'; end $$;
    create trigger fail_here before update on users for each row
      when (old.enabled and not new.enabled) execute function fail_here()`)
  const id = await beginDelta(world)
  await read(world, id)
  await world.startWorkers(fastResync)
  await endOf(db, id)
  await db.$client.unsafe(`drop trigger fail_here on users; drop function fail_here()`)
  await laterRound(world)
  expect(await storedGroups(person)).toEqual([])
  expect(await enabledOf(world, person)).toBe(false)
})

test('a read of the person’s own, which cannot tell that they are disabled, does not settle that this was told', async () => {
  const { world, workers, ids, tenant } = await given(1)
  const [person] = ids as [string]
  const { db } = world
  await workers.stop()
  tenant.updateUser(person, { accountEnabled: false })
  const told = await beginDelta(world)
  await read(world, told)
  await cancelResync(db, told)
  await minutesPass(db)
  const id = await beginDelta(world)
  await read(world, id)
  // Their token is good for another hour.
  await readSlowly(world, person)
  await world.startWorkers(fastResync)
  await endOf(db, id)
  await laterRound(world)
  expect(await enabledOf(world, person)).toBe(false)
})

test('the same where everybody is read since changes were forgotten', async () => {
  const { world, workers, ids, tenant } = await given(1)
  const [person] = ids as [string]
  const { db, source } = world
  await workers.stop()
  tenant.updateUser(person, { accountEnabled: false })
  world.simulator.delta.forgetTokens()
  await read(world, await beginDelta(world))
  const full = (await listResyncs(db, 9)).find(({ mode }) => mode === 'full')!
  await advanceResync({ db, ...nobody }, source, full.id)
  await readSlowly(world, person)
  await world.startWorkers(fastResync)
  await endOf(db, full.id)
  await laterRound(world)
  expect(await enabledOf(world, person)).toBe(false)
})

test('a plan of the person’s own that is held is not the read of the app', async () => {
  const { world, workers, ids } = await given(1)
  const { db, source } = world
  await workers.stop()
  const id = await beginDelta(world)
  await hintUsers(db, aboutOf(world, id), ids)
  await db.$client`
    insert into sync_runs (user_id, source, cause, started_at, outcome, held, held_by)
    select id, ${source.slug}, 'login', clock_timestamp(), 'held', 1, 'reach' from users`
  await endHints(db, { ...aboutOf(world, id), ...free }, [])
  expect(await advanceResync({ db, ...nobody }, source, id)).toMatchObject({ state: 'running', done: 0 })
})

test('an older read that found somebody enabled does not undo a newer one', async () => {
  const { world, ids } = await given(1)
  const [person] = ids as [string]
  const { db, source, simulator } = world
  const [{ id: userId }] = await db.$client<[{ id: string }]>`select id from users`
  const [{ older, newer }] = await db.$client<[{ older: string; newer: string }]>`
    select to_json(clock_timestamp() + interval '10 milliseconds') #>> '{}' as older,
      to_json(clock_timestamp() + interval '20 milliseconds') #>> '{}' as newer`
  await db.$client`update users set last_login_at = last_login_at - interval '1 hour'`
  const memberships = remoteGroups(person).map((objectId) => ({
    objectId,
    displayName: 'Group 0',
    description: null,
    mail: null,
    securityEnabled: true,
    mailEnabled: false,
    groupTypes: [],
  }))
  const settle = async (beganAt: string, standing: 'enabled' | 'disabled') => {
    const run = { id: crypto.randomUUID(), source: source.slug, cause: 'resync' as const, startedAt: beganAt }
    const snapshot = { beganAt, memberships, requestId: undefined, hidden: false, groupsRead: true, standing }
    return await reconcile(db, { userId, tenantId: simulator.tenant.id }, snapshot, run, source.rules)
  }
  await settle(newer, 'disabled')
  expect(await settle(older, 'enabled')).toMatchObject({ outcome: 'stale' })
  expect(await enabledOf(world, person)).toBe(false)
})
