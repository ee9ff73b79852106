import { randomUUID } from 'node:crypto'
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest'
import type { Database } from '../db/client.ts'
import { findSharedGroups, markGroupsDeleted } from '../db/groups.ts'
import { applyWrites, loadStored } from '../db/memberships.ts'
import { planReconcile } from '../src/reconcile/plan.ts'
import type { Subject } from '../src/reconcile/reconcile.ts'
import { createTestDatabase, type TestDatabase } from './support/database.ts'
import { waitForWaiter } from './support/locks.ts'
import { changesOf, groupRow, groupsOf, nextMoment, replay, sync } from './support/reconciled.ts'
import { remoteGroup } from './support/remote-memberships.ts'
import { insertUser } from './support/users.ts'

let database: TestDatabase
let db: Database
let [ada, ben]: Subject[] = []
const tenantId = () => given(ada).tenantId

beforeAll(async () => {
  database = await createTestDatabase({ max: 40 })
  db = database.db
})
afterAll(() => database.close())
beforeEach(async () => {
  ada = await insertUser(db)
  ben = await insertUser(db, ada.tenantId)
})

function given<Known>(known: Known | undefined): Known {
  if (known === undefined) throw new Error('not there')
  return known
}

async function markDeleted(objectIds: readonly string[], { at = nextMoment(), runId = randomUUID() } = {}) {
  return await markGroupsDeleted(db, { tenantId: tenantId(), objectIds, at, run: { id: runId } })
}

const ids = (groups: readonly { objectId: string }[]) => groups.map(({ objectId }) => objectId).toSorted()

test('a deleted group is left by everybody in it, once each in the change log, with the run that learned of it', async () => {
  const [gone, kept] = [remoteGroup(), remoteGroup()]
  for (const person of [given(ada), given(ben)]) await sync(db, person, [gone, kept])
  const runId = randomUUID()
  expect(await markDeleted([gone.objectId, randomUUID()], { runId })).toEqual({ groups: 1, memberships: 2 })
  for (const person of [given(ada), given(ben)]) {
    expect(await groupsOf(db, person)).toEqual([kept.objectId])
    const removed = (await changesOf(db, person)).filter(({ change }) => change === 'removed')
    expect(removed).toEqual([{ objectId: gone.objectId, change: 'removed', runId }])
  }
  expect(await groupRow(db, tenantId(), gone.objectId)).toMatchObject({ deleted: true })
  expect(await groupRow(db, tenantId(), kept.objectId)).toMatchObject({ deleted: false })
  expect(await markDeleted([gone.objectId])).toMatchObject({ memberships: 0 })
})

test('local memberships of a deleted group stay, and so does the group of the same id in another tenant', async () => {
  const group = remoteGroup()
  const stranger = await insertUser(db)
  for (const person of [given(ada), given(ben), stranger]) await sync(db, person, [group])
  const { id } = await groupRow(db, tenantId(), group.objectId)
  await db.$client`insert into memberships (user_id, group_id, origin) values (${given(ada).userId}, ${id}, 'local')`
  await markDeleted([group.objectId])
  expect(await groupsOf(db, given(ada))).toEqual([])
  expect(await groupsOf(db, given(ada), 'local')).toEqual([group.objectId])
  expect(await groupsOf(db, stranger)).toEqual([group.objectId])
  expect(await groupRow(db, stranger.tenantId, group.objectId)).toMatchObject({ deleted: false })
})

test('a group made again under the same name is another group', async () => {
  const [before, after] = [remoteGroup({ displayName: 'Staff' }), remoteGroup({ displayName: 'Staff' })]
  await sync(db, given(ada), [before])
  await sync(db, given(ben), [before])
  await markDeleted([before.objectId])
  await sync(db, given(ada), [after])
  expect(await groupsOf(db, given(ada))).toEqual([after.objectId])
  expect(await groupsOf(db, given(ben))).toEqual([])
  const rows = [
    await groupRow(db, tenantId(), before.objectId),
    await groupRow(db, tenantId(), after.objectId),
  ]
  expect(rows).toMatchObject([
    { displayName: 'Staff', deleted: true },
    { displayName: 'Staff', deleted: false },
  ])
})

test('a restored group comes back with the first who is read again, and each person with their own read', async () => {
  const group = remoteGroup()
  for (const person of [given(ada), given(ben)]) await sync(db, person, [group])
  const { id } = await groupRow(db, tenantId(), group.objectId)
  await markDeleted([group.objectId])
  // The very answer that was stored before: nobody takes it for unchanged.
  expect(await sync(db, given(ada), [group])).toMatchObject({ outcome: 'applied', counts: { added: 1 } })
  expect(await groupRow(db, tenantId(), group.objectId)).toMatchObject({ id, deleted: false })
  expect(await groupsOf(db, given(ben))).toEqual([])
  expect(await sync(db, given(ben), [group])).toMatchObject({ outcome: 'applied', counts: { added: 1 } })
  expect(replay(await changesOf(db, given(ben)))).toEqual([group.objectId])
  expect(await sync(db, given(ben), [group])).toMatchObject({ outcome: 'unchanged' })
})

test.each([{}, { mail: 'new@contoso.example' }])(
  'a read that began before the deletion was proven, telling %o, joins nobody, and the one after it is compared in full',
  async (changed) => {
    const [gone, other] = [remoteGroup(), remoteGroup()]
    await sync(db, given(ada), [gone])
    const older = nextMoment()
    await markDeleted([gone.objectId])
    const told = [{ ...gone, ...changed }, other]
    expect(await sync(db, given(ben), told, { beganAt: older })).toMatchObject({ counts: { added: 1 } })
    expect(await groupsOf(db, given(ben))).toEqual([other.objectId])
    expect(await groupRow(db, tenantId(), gone.objectId)).toMatchObject({ deleted: true })
    expect(await sync(db, given(ben), told)).toMatchObject({ outcome: 'applied', counts: { added: 1 } })
    expect(await groupRow(db, tenantId(), gone.objectId)).toMatchObject({ deleted: false })
  },
)

test('a proof that is older than a read which lists the group changes nothing', async () => {
  const group = remoteGroup()
  await sync(db, given(ada), [group])
  const at = nextMoment()
  await sync(db, given(ada), [group])
  expect(await markDeleted([group.objectId], { at })).toEqual({ groups: 0, memberships: 0 })
  const fresh = remoteGroup()
  await sync(db, given(ben), [fresh])
  const before = nextMoment()
  const reader = await insertUser(db, tenantId())
  // Nobody who is in it now was read after the proof, but somebody was who has left it since.
  await sync(db, reader, [{ ...fresh, mail: 'later@contoso.example' }])
  await sync(db, reader, [])
  expect(await markDeleted([fresh.objectId], { at: before })).toEqual({ groups: 0, memberships: 0 })
  expect([...(await groupsOf(db, given(ada))), ...(await groupsOf(db, given(ben)))]).toEqual([
    group.objectId,
    fresh.objectId,
  ])
})

test('a plan that would join a group, or keep it, is made again when the group is deleted before it is applied', async () => {
  const group = remoteGroup()
  await sync(db, given(ada), [group])
  await db.$client`update users set membership_digest = null where id = ${given(ada).userId}`
  const at = nextMoment()
  for (const person of [given(ada), given(ben)]) {
    const beganAt = nextMoment()
    const read = { ...person, beganAt, digest: 'd', remote: 1, reach: { hidden: false, groups: true } }
    const stored = given(await loadStored(db, read, [group.objectId]))
    await markDeleted([group.objectId], { at })
    const run = { id: randomUUID(), source: 'entra-id', cause: 'login' as const, startedAt: beganAt }
    const plan = planReconcile([group], stored)
    expect(await applyWrites(db, { ...read, run }, stored.basis, plan)).toBeUndefined()
    expect(await groupsOf(db, person)).toEqual([])
    await sync(db, person, [group])
    expect(await groupsOf(db, person)).toEqual([group.objectId])
    await db.$client`delete from memberships where user_id = ${person.userId}`
    await db.$client`update users set snapshot_at = null, membership_digest = null`
    await db.$client`update groups set last_seen_at = ${at}`
  }
})

test('whoever joins while the deletion waits for the group leaves it too', async () => {
  const group = remoteGroup()
  await sync(db, given(ada), [group])
  const beganAt = nextMoment()
  const { id } = await groupRow(db, tenantId(), group.objectId)
  let pending: Promise<unknown> | undefined
  await db.$client.begin(async (sql) => {
    await sql`select from users where id = ${given(ben).userId} for no key update`
    await sql`insert into memberships (user_id, group_id, origin) values (${given(ben).userId}, ${id}, 'entra')`
    await sql`insert into membership_changes (user_id, group_id, origin, change)
      values (${given(ben).userId}, ${id}, 'entra', 'added')`
    await sql`update users set snapshot_at = ${beganAt}, membership_digest = 'meanwhile'
      where id = ${given(ben).userId}`
    pending = markDeleted([group.objectId])
    await waitForWaiter(db)
  })
  expect(await pending).toEqual({ groups: 1, memberships: 2 })
  expect(replay(await changesOf(db, given(ben)))).toEqual([])
  const [row] = await db.$client`select membership_digest from users where id = ${given(ben).userId}`
  expect(row?.['membership_digest']).not.toBe('meanwhile')
})

test.each([
  ['older', false, () => [nextMoment(), nextMoment()]],
  ['newer', true, () => [nextMoment(), nextMoment()].toReversed()],
] as const)(
  'a person whose %s read waits for a group while it is being deleted joins it: %s',
  async (...row) => {
    const [, joined, moments] = row
    const group = remoteGroup()
    await sync(db, given(ada), [group])
    const [beganAt, at] = moments()
    let pending: Promise<unknown> | undefined
    await db.$client.begin(async (sql) => {
      await sql`delete from memberships where user_id = ${given(ada).userId}`
      await sql`select from groups where object_id = ${group.objectId} for update`
      pending = sync(db, given(ben), [group], { beganAt: given(beganAt) })
      await waitForWaiter(db)
      await sql`update groups set deleted_at = ${given(at)} where object_id = ${group.objectId}`
    })
    await pending
    expect(await groupsOf(db, given(ben))).toEqual(joined ? [group.objectId] : [])
    expect(await groupRow(db, tenantId(), group.objectId)).toMatchObject({ deleted: !joined })
  },
)

test('a deletion that waits for a person holds no group, so that the person is not kept waiting for it', async () => {
  const group = remoteGroup()
  await sync(db, given(ada), [group])
  let pending: Promise<unknown> | undefined
  await db.$client.begin(async (sql) => {
    await sql`select from users where id = ${given(ada).userId} for no key update`
    pending = markDeleted([group.objectId])
    await waitForWaiter(db)
    await sql`update groups set mail = null where object_id = ${group.objectId}`
  })
  expect(await pending).toEqual({ groups: 1, memberships: 1 })
})

test.each([1, 2, 3, 4, 5, 6])(
  'deletions beside 30 sign-ins to the same groups: no circle of waiting, nobody left in a deleted group (%i)',
  async (round) => {
    const groups = Array.from({ length: 24 }, () => remoteGroup())
    const people = await Promise.all(Array.from({ length: 30 }, () => insertUser(db, tenantId())))
    for (const person of people.slice(0, 10)) await sync(db, person, groups.slice(0, 16))
    const times = people.map(() => nextMoment())
    // Every second time all reads are older than the proofs, so that each group goes.
    const since = round % 2 === 0 ? 20 : people.length
    const at = times[since] ?? nextMoment()
    const told = groups.map((group, index) =>
      index % 3 === 0 ? { ...group, mail: 'new@contoso.example' } : group,
    )
    const leaving = groups.slice(4, 14)
    const signIns = people.map((person, index) =>
      sync(db, person, shuffled(told), { beganAt: given(times[index]) }),
    )
    const deletions = [1, 2, 3].map(() => markDeleted(shuffled(ids(leaving)), { at }))
    await Promise.all([...signIns, ...deletions])
    const gone = await db.$client<{ objectId: string; members: number }[]>`
      select g.object_id as "objectId", (select count(*) from memberships m where m.group_id = g.id)::int as members
      from groups g where g.tenant_id = ${tenantId()} and g.deleted_at is not null order by 1`
    expect(gone).toEqual(gone.map((group) => ({ ...group, members: 0 })))
    const settled = since < people.length ? gone.map(({ objectId }) => objectId) : ids(leaving)
    expect(gone.map(({ objectId }) => objectId)).toEqual(settled)
    for (const [index, person] of people.entries()) {
      const stored = await groupsOf(db, person)
      expect(replay(await changesOf(db, person))).toEqual(stored)
      const least = index > since ? groups : groups.filter((group) => !leaving.includes(group))
      expect(stored).toEqual(expect.arrayContaining(ids(least)))
    }
  },
)

test('of the groups somebody left, those are asked for that have other members and are not known to be deleted', async () => {
  const [shared, own, gone, local] = [remoteGroup(), remoteGroup(), remoteGroup(), remoteGroup()]
  const groups = [shared, own, gone, local]
  const { left } = await sync(db, given(ada), groups).then(() => sync(db, given(ada), []))
  await sync(db, given(ben), [shared, gone])
  await db.$client`update groups set deleted_at = now() where object_id = ${gone.objectId}`
  const { id } = await groupRow(db, tenantId(), local.objectId)
  await db.$client`insert into memberships (user_id, group_id, origin) values (${given(ben).userId}, ${id}, 'local')`
  expect(left).toHaveLength(4)
  expect((await findSharedGroups(db, left, 20)).objectIds).toEqual([shared.objectId])
  expect((await findSharedGroups(db, left, 0)).objectIds).toEqual([])
})

function shuffled<Item>(items: readonly Item[]): Item[] {
  const keyed = items.map((item) => ({ item, key: randomUUID() }))
  return keyed.toSorted((a, b) => (a.key < b.key ? -1 : 1)).map(({ item }) => item)
}
