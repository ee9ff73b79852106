import { expect, test } from 'vitest'
import type { Database } from '../db/client.ts'
import type { Subject } from '../src/reconcile/reconcile.ts'
import { changesOf, groupRow, nextMoment, statementsOf, sync } from './support/reconciled.ts'
import { limitedGroup, remoteGroup } from './support/remote-memberships.ts'
import { givenUser, insertUser } from './support/users.ts'

let db: Database
let user: Subject

givenUser((given) => ({ db, user } = given))

test('two groups of one name are two rows, and names that differ in case only are kept as they are', async () => {
  const twins = ['Finance', 'Finance', 'finance'].map((displayName) => remoteGroup({ displayName }))
  expect(await sync(db, user, twins)).toMatchObject({ counts: { groupsCreated: 3, added: 3 } })
  const names = await Promise.all(twins.map(({ objectId }) => groupRow(db, user.tenantId, objectId)))
  expect(names.map(({ displayName }) => displayName)).toEqual(['Finance', 'Finance', 'finance'])
})

test('a rename keeps the row and the membership, and writes no other row', async () => {
  const [group, other] = [remoteGroup(), remoteGroup()]
  await sync(db, user, [group, other])
  const before = await groupRow(db, user.tenantId, group.objectId)
  const otherBefore = await groupRow(db, user.tenantId, other.objectId)
  const renamed = { ...group, displayName: 'Renamed' }
  expect(await sync(db, user, [renamed, other])).toMatchObject({
    outcome: 'applied',
    counts: { groupsCreated: 0, groupsUpdated: 1, added: 0, removed: 0 },
  })
  expect(await groupRow(db, user.tenantId, group.objectId)).toMatchObject({
    id: before.id,
    displayName: 'Renamed',
  })
  expect(await groupRow(db, user.tenantId, other.objectId)).toEqual(otherBefore)
  expect(await changesOf(db, user)).toHaveLength(2)
})

test('joining a group that others made writes no group row', async () => {
  const group = remoteGroup()
  await sync(db, await insertUser(db, user.tenantId), [group])
  const before = await groupRow(db, user.tenantId, group.objectId)
  expect(await sync(db, user, [group])).toMatchObject({
    counts: { groupsCreated: 0, groupsUpdated: 0, added: 1 },
  })
  expect(await groupRow(db, user.tenantId, group.objectId)).toEqual(before)
})

test('a null name never overwrites a known one: the row stays, the run is unchanged, the next costs one statement', async () => {
  const group = remoteGroup({ displayName: 'Known' })
  await sync(db, user, [group])
  const before = await groupRow(db, user.tenantId, group.objectId)
  expect(await sync(db, user, [limitedGroup(group.objectId)])).toMatchObject({ outcome: 'unchanged' })
  expect(await groupRow(db, user.tenantId, group.objectId)).toEqual(before)
  expect(await statementsOf(db, () => sync(db, user, [limitedGroup(group.objectId)]))).toHaveLength(1)
})

test('a null beside a new label leaves the known one and writes the new', async () => {
  const group = remoteGroup({ displayName: 'Known', mail: 'old@contoso.example' })
  await sync(db, user, [group])
  await sync(db, user, [{ ...group, displayName: null, mail: 'new@contoso.example' }])
  const row = { displayName: 'Known', mail: 'new@contoso.example' }
  expect(await groupRow(db, user.tenantId, group.objectId)).toMatchObject(row)
})

test('a group that was marked deleted is back when it is read again, and stays so for a read from before', async () => {
  const group = remoteGroup({ mail: null })
  await sync(db, user, [group])
  const early = nextMoment()
  await db.$client`update groups set deleted_at = ${nextMoment()} where object_id = ${group.objectId}`
  const other = await insertUser(db, user.tenantId)
  await sync(db, other, [{ ...group, mail: 'told@contoso.example' }], { beganAt: early })
  const row = { deleted: true, mail: 'told@contoso.example' }
  expect(await groupRow(db, user.tenantId, group.objectId)).toMatchObject(row)
  await sync(db, await insertUser(db, user.tenantId), [group])
  expect(await groupRow(db, user.tenantId, group.objectId)).toMatchObject({ deleted: false })
})

test('an older read that has nothing to add does not write the row of a group', async () => {
  const group = remoteGroup()
  const other = await insertUser(db, user.tenantId)
  const older = nextMoment()
  await sync(db, user, [group])
  const before = await groupRow(db, user.tenantId, group.objectId)
  await sync(db, other, [{ ...group, displayName: 'Older name' }], { beganAt: older })
  expect(await groupRow(db, user.tenantId, group.objectId)).toEqual(before)
})

test('an older read of somebody else does not overwrite a newer label', async () => {
  const group = remoteGroup({ displayName: 'Old name', mail: null })
  const other = await insertUser(db, user.tenantId)
  const older = nextMoment()
  await sync(db, user, [{ ...group, displayName: 'New name' }])
  const told = await sync(db, other, [{ ...group, mail: 'told@contoso.example' }], { beganAt: older })
  expect(told).toMatchObject({ outcome: 'applied', counts: { added: 1 } })
  const row = { displayName: 'New name', mail: 'told@contoso.example' }
  expect(await groupRow(db, user.tenantId, group.objectId)).toMatchObject(row)
})

test.each([
  ['quotes, braces and commas', `O'Brien's "{a,b}" {NULL} \\" \\\\ $1 %s`],
  ['line breaks and tabs', 'a\nb\r\n\tc\u0001\u001f'],
  ['emoji and other scripts', 'Ωμέγα 研究 👩‍👩‍👧‍👦 \u202eabc'],
  ['256 characters', `${'😀x'.repeat(85)}y`],
  ['no characters', ''],
  ['the word null', 'null'],
])('a name with %s is stored as it is and found unchanged', async (_, displayName) => {
  const group = remoteGroup({ displayName, groupTypes: ['Unified', displayName] })
  await sync(db, user, [group])
  const row = await groupRow(db, user.tenantId, group.objectId)
  expect(row.displayName).toBe(displayName)
  expect(row.groupTypes).toEqual(['Unified', displayName].toSorted())
  expect(await sync(db, user, [{ ...group, mail: null }])).toMatchObject({ outcome: 'unchanged' })
})

test.each(['displayName', 'description', 'mail'] as const)(
  'a %s far longer than any of Entra is stored whole, and a change at its end is one',
  async (label) => {
    const group = remoteGroup({ [label]: `${'长'.repeat(5000)}a` })
    expect(await sync(db, user, [group])).toMatchObject({ outcome: 'applied' })
    expect(await groupRow(db, user.tenantId, group.objectId)).toMatchObject({ [label]: group[label] })
    expect(await sync(db, user, [group])).toMatchObject({ outcome: 'unchanged' })
    const changed = { ...group, [label]: `${'长'.repeat(5000)}b` }
    await sync(db, user, [changed, remoteGroup()])
    expect(await groupRow(db, user.tenantId, group.objectId)).toMatchObject({ [label]: changed[label] })
  },
)

test('NUL and half a surrogate pair, which Postgres cannot hold, are left out of a name', async () => {
  const group = remoteGroup({ displayName: '\u0000a\u0000\ud800b' })
  await sync(db, user, [group])
  expect(await groupRow(db, user.tenantId, group.objectId)).toMatchObject({ displayName: 'a\ufffdb' })
  expect(await sync(db, user, [{ ...group, displayName: 'a\ud800b' }])).toMatchObject({
    outcome: 'unchanged',
  })
})
