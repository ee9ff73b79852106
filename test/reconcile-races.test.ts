import { randomUUID } from 'node:crypto'
import { afterAll, beforeAll, expect, test } from 'vitest'
import type { Database } from '../db/client.ts'
import { applyWrites, loadStored } from '../db/memberships.ts'
import { listRuns } from '../db/sync-runs.ts'
import { planReconcile } from '../src/reconcile/plan.ts'
import { createTestDatabase, type TestDatabase } from './support/database.ts'
import { waitForWaiter } from './support/locks.ts'
import { changesOf, groupRow, groupsOf, nextMoment, replay, sync } from './support/reconciled.ts'
import { remoteGroup } from './support/remote-memberships.ts'
import { insertUser } from './support/users.ts'

let database: TestDatabase
let db: Database

beforeAll(async () => {
  database = await createTestDatabase({ max: 20 })
  db = database.db
})
afterAll(() => database.close())

function shuffled<Item>(items: readonly Item[]): Item[] {
  const keyed = items.map((item) => ({ item, key: randomUUID() }))
  return keyed.toSorted((a, b) => (a.key < b.key ? -1 : 1)).map(({ item }) => item)
}

test.each([
  [10, 50],
  [50, 200],
])(
  '%i users at once in the same %i new groups, told in any order: each group once, nobody fails',
  async (count, size) => {
    const tenantId = randomUUID()
    const groups = Array.from({ length: size }, () => remoteGroup())
    const users = await Promise.all(Array.from({ length: count }, () => insertUser(db, tenantId)))
    const all = await Promise.all(users.map((user) => sync(db, user, shuffled(groups))))
    expect(all.map(({ counts }) => counts.added)).toEqual(users.map(() => size))
    expect(all.reduce((sum, { counts }) => sum + counts.groupsCreated, 0)).toBe(size)
    expect(all.reduce((sum, { counts }) => sum + counts.groupsUpdated, 0)).toBe(0)
    const objectIds = groups.map(({ objectId }) => objectId).toSorted()
    for (const user of users) expect(await groupsOf(db, user)).toEqual(objectIds)
  },
)

test('users at once who rename the same groups and join new ones do not wait in a circle', async () => {
  const tenantId = randomUUID()
  const groups = Array.from({ length: 60 }, () => remoteGroup())
  const users = await Promise.all(Array.from({ length: 10 }, () => insertUser(db, tenantId)))
  for (const [index, user] of users.entries()) await sync(db, user, groups.slice(index * 3, index * 3 + 30))
  const renamed = groups.map((group) => ({ ...group, displayName: 'Renamed' }))
  const fresh = Array.from({ length: 30 }, () => remoteGroup())
  await Promise.all(users.map((user) => sync(db, user, shuffled([...renamed, ...fresh]))))
  for (const user of users) expect(await groupsOf(db, user)).toHaveLength(90)
})

test('20 reconciles of one user at once: the newest snapshot wins and the log leads to it', async () => {
  const user = await insertUser(db)
  const groups = Array.from({ length: 15 }, () => remoteGroup())
  const snapshots = Array.from({ length: 20 }, () => ({
    beganAt: nextMoment(),
    memberships: shuffled(groups).slice(0, 8),
  }))
  const ends = await Promise.all(
    shuffled(snapshots).map(({ beganAt, memberships }) => sync(db, user, memberships, { beganAt })),
  )
  const newest = snapshots
    .at(-1)
    ?.memberships.map(({ objectId }) => objectId)
    .toSorted()
  expect(await groupsOf(db, user)).toEqual(newest)
  expect(replay(await changesOf(db, user))).toEqual(newest)
  const runs = await listRuns(db, user.userId, 100)
  expect(runs.map(({ outcome }) => outcome).toSorted()).toEqual(ends.map(({ outcome }) => outcome).toSorted())
  const counted = ends.reduce((sum, { counts }) => sum + counts.added + counts.removed, 0)
  expect(await changesOf(db, user)).toHaveLength(counted)
})

test('a plan made from what has changed meanwhile is made again', async () => {
  const user = await insertUser(db)
  const [kept, meanwhile, late] = [remoteGroup(), remoteGroup(), remoteGroup()]
  await sync(db, user, [kept])
  const [earlier, later] = [nextMoment(), nextMoment()]
  let pending: Promise<unknown> | undefined
  await db.$client.begin(async (sql) => {
    await sql`select from users where id = ${user.userId} for no key update`
    pending = sync(db, user, [kept, late], { beganAt: later })
    await waitForWaiter(db)
    const [group] = await sql<{ id: string }[]>`
      insert into groups (tenant_id, object_id) values (${user.tenantId}, ${meanwhile.objectId}) returning id`
    await sql`insert into memberships (user_id, group_id, origin)
      values (${user.userId}, ${group?.id ?? ''}, 'entra')`
    await sql`insert into membership_changes (user_id, group_id, origin, change)
      values (${user.userId}, ${group?.id ?? ''}, 'entra', 'added')`
    await sql`update users set snapshot_at = ${earlier}, membership_digest = 'meanwhile' where id = ${user.userId}`
  })
  expect(await pending).toMatchObject({ outcome: 'applied', counts: { added: 1, removed: 1 } })
  expect(await groupsOf(db, user)).toEqual([kept, late].map(({ objectId }) => objectId).toSorted())
  expect(replay(await changesOf(db, user))).toEqual(await groupsOf(db, user))
})

test('a plan made from what a newer read has left is not carried out', async () => {
  const user = await insertUser(db)
  const beganAt = nextMoment()
  const groups = [remoteGroup()]
  await sync(db, user, groups)
  const stored = await loadStored(db, { ...user, beganAt }, [])
  if (!stored) throw new Error('the user is gone')
  const run = { id: randomUUID(), source: 'entra-id', cause: 'login' as const, startedAt: beganAt }
  const plan = planReconcile([], stored)
  expect(plan.remove).toHaveLength(1)
  expect(
    await applyWrites(
      db,
      { ...user, beganAt, digest: '', remote: 0, reach: { hidden: false, groups: true }, run },
      stored.basis,
      plan,
    ),
  ).toBeUndefined()
  expect(await groupsOf(db, user)).toHaveLength(1)
  expect(await changesOf(db, user)).toHaveLength(1)
})

test.for([
  ['finds what was stored', 0, 'unchanged'],
  ['finds that a group is gone', 1, 'applied'],
] as const)(
  'a read that %s applies where the stored one is of a time to come, told by a clock that was put right',
  async ([, gone, outcome]) => {
    const user = await insertUser(db)
    const groups = [remoteGroup(), remoteGroup()]
    await sync(db, user, groups)
    await db.$client`update users set snapshot_at = clock_timestamp() + interval '2 hours' where id = ${user.userId}`
    const beganAt = nextMoment()
    expect(await sync(db, user, groups.slice(gone), { beganAt })).toMatchObject({ outcome })
    expect(await groupsOf(db, user)).toHaveLength(2 - gone)
    const older = '2026-05-01T07:00:00Z'
    expect(await sync(db, user, [], { beganAt: older })).toMatchObject({ outcome: 'stale' })
  },
)

test('a read that began before one of just now is stale, though the clocks differ by a moment', async () => {
  const user = await insertUser(db)
  await sync(db, user, [remoteGroup()])
  await db.$client`update users set snapshot_at = clock_timestamp() + interval '3 seconds' where id = ${user.userId}`
  expect(await sync(db, user, [])).toMatchObject({ outcome: 'stale' })
})

test('a plan that waits while a newer snapshot is applied ends as stale', async () => {
  const user = await insertUser(db)
  const [older, newer] = [nextMoment(), nextMoment()]
  let pending: Promise<unknown> | undefined
  await db.$client.begin(async (sql) => {
    await sql`select from users where id = ${user.userId} for no key update`
    pending = sync(db, user, [remoteGroup()], { beganAt: older })
    await waitForWaiter(db)
    await sql`update users set snapshot_at = ${newer}, membership_digest = 'newer' where id = ${user.userId}`
  })
  expect(await pending).toMatchObject({ outcome: 'stale' })
  expect(await groupsOf(db, user)).toEqual([])
})

test('a label told by a newer read while an older one waits for the row is kept', async () => {
  const tenantId = randomUUID()
  const [user, first] = [await insertUser(db, tenantId), await insertUser(db, tenantId)]
  const group = remoteGroup({ displayName: 'First name', mail: null })
  await sync(db, first, [group])
  const [older, newer] = [nextMoment(), nextMoment()]
  const { id } = await groupRow(db, tenantId, group.objectId)
  let pending: Promise<unknown> | undefined
  await db.$client.begin(async (sql) => {
    await sql`update groups set display_name = 'Newest name', last_seen_at = ${newer} where id = ${id}`
    const told = { ...group, displayName: 'Older name', mail: 'told@contoso.example' }
    pending = sync(db, user, [told], { beganAt: older })
    await waitForWaiter(db)
  })
  expect(await pending).toMatchObject({ counts: { added: 1, groupsUpdated: 0 } })
  const row = { id, displayName: 'Newest name', mail: 'told@contoso.example' }
  expect(await groupRow(db, tenantId, group.objectId)).toMatchObject(row)
})

test('a running reconcile does not hold up what only refers to its user', async () => {
  const user = await insertUser(db)
  const group = remoteGroup()
  await sync(db, await insertUser(db, user.tenantId), [group])
  let pending: Promise<unknown> | undefined
  await db.$client.begin(async (sql) => {
    await sql`update groups set mail = null where object_id = ${group.objectId}`
    pending = sync(db, user, [{ ...group, mail: 'other@contoso.example' }])
    await waitForWaiter(db)
    await db.$client`insert into login_events (source, tenant_id, user_id)
      values ('entra-id', ${user.tenantId}, ${user.userId})`
  })
  expect(await pending).toMatchObject({ outcome: 'applied' })
})
