import { expect, test } from 'vitest'
import { reconcile } from '../src/reconcile/reconcile.ts'
import { beginDelta, givenDeltaWorld, laterRound, read, round } from './support/delta-world.ts'
import { endOf, fastResync, knowPeople } from './support/resyncs.ts'

const { given, personIn, storedGroups, remoteGroups } = givenDeltaWorld()

const labels = {
  displayName: 'x',
  description: null,
  mail: null,
  securityEnabled: true,
  mailEnabled: false,
  groupTypes: [],
}

test('what is told at the end of a read that took minutes is read again once the index knows of it', async () => {
  const { world, workers, tenant } = await given(1)
  const { db, source, simulator } = world
  const [outer, inner] = ['Outer', 'Inner'].map(
    (displayName) => tenant.addGroup({ displayName, kind: 'security' }).id,
  )
  const person = personIn(1)
  tenant.addMember(outer!, inner!)
  tenant.addMember(inner!, person)
  await round(world)
  await workers.stop()
  // Their first sign-in, whose read began five minutes ago and has listed both groups.
  await knowPeople(world, [person])
  const listed = remoteGroups(person)
  const [{ userId, beganAt }] = await db.$client<[{ userId: string; beganAt: string }]>`
    select id as "userId", to_json(clock_timestamp() - interval '5 minutes') #>> '{}' as "beganAt"
    from users where object_id = ${person}`
  // Now the inner group goes, which changes tell at once and the index learns later.
  simulator.lag.hold()
  tenant.deleteGroup(inner!)
  const id = await beginDelta(world)
  expect(await read(world, id)).toMatchObject({ kind: 'changes', hinted: 0 })
  const run = { id: crypto.randomUUID(), source: source.slug, cause: 'login' as const, startedAt: beganAt }
  const memberships = listed.map((objectId) => ({ objectId, ...labels }))
  expect(
    await reconcile(
      db,
      { userId, tenantId: simulator.tenant.id },
      { beganAt, memberships, requestId: undefined, hidden: false },
      run,
      source.rules,
    ),
  ).toMatchObject({ outcome: 'applied', counts: { added: 3 } })
  await world.startWorkers(fastResync)
  await endOf(db, id)
  simulator.lag.catchUp()
  for (let index = 0; index < 3; index += 1) await laterRound(world)
  expect((await storedGroups(person)).toSorted()).toEqual(remoteGroups(person).toSorted())
})
