import { randomUUID } from 'node:crypto'
import fc from 'fast-check'
import { expect, test } from 'vitest'
import type { Database } from '../db/client.ts'
import { listRuns } from '../db/sync-runs.ts'
import { SyncError } from '../src/errors.ts'
import type { Subject } from '../src/reconcile/reconcile.ts'
import {
  changesOf,
  groupRow,
  groupsOf,
  nextMoment,
  replay,
  statementsOf,
  sync,
} from './support/reconciled.ts'
import { remoteGroup, remoteMemberships, storable } from './support/remote-memberships.ts'
import { givenUser, insertUser } from './support/users.ts'

let db: Database
let user: Subject

givenUser((given) => ({ db, user } = given))

const ids = (groups: readonly { objectId: string }[]) => groups.map(({ objectId }) => objectId).toSorted()

async function userRow() {
  const [row] = await db.$client`
    select snapshot_at, membership_digest, last_synced_at, sync_state from users where id = ${user.userId}`
  return row
}

async function joinByHand(group: { id: string }) {
  await db.$client`insert into memberships (user_id, group_id, origin) values (${user.userId}, ${group.id}, 'local')`
}

test('a first sign-in makes groups, memberships, one change row each and a run', async () => {
  const groups = [remoteGroup(), remoteGroup()]
  const runId = randomUUID()
  const counts = { remote: 2, groupsCreated: 2, groupsUpdated: 0, added: 2, removed: 0, held: 0 }
  const end = { outcome: 'applied', counts: { ...counts, filtered: 0, unknown: 0 }, left: [] }
  expect(await sync(db, user, groups, { runId })).toEqual(end)
  expect(await groupsOf(db, user)).toEqual(ids(groups))
  const changes = await changesOf(db, user)
  expect(changes.map(({ objectId }) => objectId).toSorted()).toEqual(ids(groups))
  expect(changes).toEqual(changes.map((change) => ({ ...change, change: 'added', runId })))
  const { remote, ...written } = counts
  expect(await listRuns(db, user.userId, 9)).toMatchObject([
    { id: runId, outcome: 'applied', remoteCount: remote, ...written, graphRequestId: 'graph-request' },
  ])
  expect(await userRow()).toMatchObject({ sync_state: 'synced' })
  const runs = await db.$client`select distinct run_id from memberships where user_id = ${user.userId}`
  expect(runs).toEqual([{ run_id: runId }])
})

test('the change log dates an addition exactly as the membership does', async () => {
  await sync(db, user, [remoteGroup(), remoteGroup(), remoteGroup()])
  const dates = await db.$client`
    select m.since = c.at as same from memberships m
    join membership_changes c on c.user_id = m.user_id and c.group_id = m.group_id where m.user_id = ${user.userId}`
  expect(dates).toEqual([{ same: true }, { same: true }, { same: true }])
})

test('an unchanged user costs one statement, writes no group or membership and is recorded', async () => {
  const groups = Array.from({ length: 30 }, () => remoteGroup())
  await sync(db, user, groups)
  const before = await db.$client`select ctid, xmin from memberships where user_id = ${user.userId}`
  const beganAt = nextMoment()
  const statements = await statementsOf(db, async () => {
    expect(await sync(db, user, groups.toReversed(), { beganAt })).toMatchObject({ outcome: 'unchanged' })
  })
  expect(statements).toHaveLength(1)
  expect(await db.$client`select ctid, xmin from memberships where user_id = ${user.userId}`).toEqual(before)
  expect((await listRuns(db, user.userId, 1))[0]).toMatchObject({ outcome: 'unchanged', remoteCount: 30 })
  const [moved] =
    await db.$client`select snapshot_at = ${beganAt} as moved from users where id = ${user.userId}`
  expect(moved).toEqual({ moved: true })
})

test('the number of statements does not grow with the number of groups', async () => {
  const few = await statementsOf(db, () => sync(db, user, [remoteGroup()]))
  const many = await statementsOf(db, () =>
    sync(db, user, [remoteGroup(), ...Array.from({ length: 200 }, () => remoteGroup())]),
  )
  expect([few.length, many.length]).toEqual([3, 3])
  expect(await statementsOf(db, () => sync(db, user, []))).toHaveLength(3)
})

test('a verified empty list removes the last membership, and the change log says so', async () => {
  const group = remoteGroup()
  await sync(db, user, [group])
  expect(await sync(db, user, [])).toMatchObject({ outcome: 'applied', counts: { remote: 0, removed: 1 } })
  expect(await groupsOf(db, user)).toEqual([])
  expect((await changesOf(db, user)).map(({ change }) => change)).toEqual(['added', 'removed'])
})

test('the first read of a person in no group is applied, since it proves something new, and the next is unchanged', async () => {
  expect(await sync(db, user, [])).toMatchObject({ outcome: 'applied', counts: { added: 0, removed: 0 } })
  expect(await statementsOf(db, () => sync(db, user, []))).toHaveLength(1)
})

test('an older snapshot is stale and changes nothing but the record of its run', async () => {
  const older = nextMoment()
  const oldest = nextMoment()
  const groups = [remoteGroup()]
  await sync(db, user, groups)
  const before = await userRow()
  expect(await sync(db, user, [remoteGroup()], { beganAt: older })).toMatchObject({ outcome: 'stale' })
  expect(await sync(db, user, groups, { beganAt: oldest })).toMatchObject({ outcome: 'stale' })
  expect(await userRow()).toEqual(before)
  expect(await groupsOf(db, user)).toEqual(ids(groups))
  expect(await changesOf(db, user)).toHaveLength(1)
  expect((await listRuns(db, user.userId, 9)).map(({ outcome }) => outcome)).toEqual([
    'applied',
    'stale',
    'stale',
  ])
})

test('the same snapshot given again changes nothing', async () => {
  const [groups, beganAt] = [[remoteGroup()], nextMoment()]
  await sync(db, user, groups, { beganAt })
  expect(await sync(db, user, groups, { beganAt })).toMatchObject({ outcome: 'unchanged' })
})

test('hand-made memberships and those of another tenant are never touched', async () => {
  const [foreign, local, both] = [remoteGroup(), remoteGroup(), remoteGroup()]
  const stranger = await insertUser(db)
  await sync(db, stranger, [foreign])
  const foreignRow = await groupRow(db, stranger.tenantId, foreign.objectId)
  await db.$client`insert into memberships (user_id, group_id, origin)
    values (${user.userId}, ${foreignRow.id}, 'entra')`
  await sync(db, await insertUser(db, user.tenantId), [local, both])
  await joinByHand(await groupRow(db, user.tenantId, local.objectId))
  await joinByHand(await groupRow(db, user.tenantId, both.objectId))
  await sync(db, user, [both])
  expect(await groupsOf(db, user)).toEqual(ids([foreign, both]))
  await sync(db, user, [])
  expect(await groupsOf(db, user)).toEqual([foreign.objectId])
  expect(await groupsOf(db, user, 'local')).toEqual(ids([local, both]))
  const kept =
    await db.$client`select run_id from memberships where user_id = ${user.userId} and origin = 'local'`
  expect(kept).toEqual([{ run_id: null }, { run_id: null }])
})

test('one group id in two tenants is two groups', async () => {
  const group = remoteGroup()
  const stranger = await insertUser(db)
  await sync(db, stranger, [group])
  await sync(db, user, [{ ...group, displayName: 'Ours' }])
  expect(await groupRow(db, stranger.tenantId, group.objectId)).toMatchObject({
    displayName: group.displayName,
  })
  await sync(db, user, [])
  expect(await groupsOf(db, stranger)).toEqual([group.objectId])
})

test('2,500 groups are applied at once and removed at once', async () => {
  const groups = Array.from({ length: 2500 }, () => remoteGroup())
  expect(await sync(db, user, groups)).toMatchObject({ counts: { groupsCreated: 2500, added: 2500 } })
  expect(await groupsOf(db, user)).toEqual(ids(groups))
  expect(await sync(db, user, groups.slice(1))).toMatchObject({ counts: { removed: 1 } })
  expect(await sync(db, user, [])).toMatchObject({ counts: { removed: 2499 } })
})

test('an unknown user, or one of another tenant, is refused as such', async () => {
  const refused = { code: 'user_unknown' }
  await expect(sync(db, { ...user, userId: randomUUID() }, [])).rejects.toMatchObject(refused)
  await expect(sync(db, { ...user, tenantId: 'other' }, [remoteGroup()])).rejects.toMatchObject(refused)
})

test('what the database refuses becomes one of our errors, free of parameters, and leaves nothing behind', async () => {
  const [secret, runId] = ['hush-hush', randomUUID()]
  await sync(db, user, [remoteGroup()], { runId })
  const thrown: unknown = await sync(db, user, [remoteGroup({ displayName: secret })], { runId }).catch(
    (e: unknown) => e,
  )
  if (!(thrown instanceof SyncError)) throw new Error('not one of ours', { cause: thrown })
  expect(thrown).toMatchObject({ code: 'database_failed', cause: { code: '23505' } })
  expect(thrown.message).toContain('23505')
  const names = (value: object) =>
    Object.getOwnPropertyNames(value).map((name) => String(Reflect.get(value, name)))
  expect([...names(thrown), ...names(Object(thrown.cause))].join()).not.toMatch(
    `${secret}|${runId}|insert into`,
  )
  expect(await changesOf(db, user)).toHaveLength(1)
})

test('for any series of reads: the groups are the last read, the log leads there, and reading it again is one statement', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(remoteMemberships, { minLength: 1, maxLength: 4 }), async (reads) => {
      user = await insertUser(db)
      const names = new Map<string, string>()
      for (const read of reads) {
        await sync(db, user, read)
        for (const group of read) {
          const name = storable(group.displayName)
          if (name !== null) names.set(group.objectId, name)
        }
      }
      const last = reads.at(-1) ?? []
      expect(await groupsOf(db, user)).toEqual(ids(last))
      expect(replay(await changesOf(db, user))).toEqual(ids(last))
      for (const [objectId, name] of names) {
        expect((await groupRow(db, user.tenantId, objectId)).displayName).toBe(name)
      }
      const again = await statementsOf(db, async () => {
        expect(await sync(db, user, last)).toMatchObject({ outcome: 'unchanged' })
      })
      expect(again).toHaveLength(1)
    }),
    { numRuns: 40 },
  )
})
