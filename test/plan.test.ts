import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import type { StoredGroup } from '../db/memberships.ts'
import { planReconcile, type Stored } from '../src/reconcile/plan.ts'
import type { RemoteMembership } from '../src/snapshot.ts'
import {
  limitedGroup,
  remoteGroup,
  remoteMembership,
  remoteMemberships,
  storable,
} from './support/remote-memberships.ts'

const nothing = { create: [], update: [], add: [], remove: [] }
const group = remoteGroup({ objectId: 'g', displayName: 'Staff', groupTypes: ['Unified'] })

function rowOf(remote: RemoteMembership, known: Partial<StoredGroup> = {}): StoredGroup {
  return { ...remote, id: `row of ${remote.objectId}`, deleted: false, newer: false, ...known }
}

describe('a plan', () => {
  test('creates a group without a row', () => {
    expect(planReconcile([group], { members: [], others: [] })).toEqual({ ...nothing, create: [group] })
  })

  test('joins a group that has a row, without writing the row', () => {
    expect(planReconcile([group], { members: [], others: [rowOf(group)] })).toEqual({
      ...nothing,
      add: ['row of g'],
    })
  })

  test('is empty where everything is as it was', () => {
    expect(planReconcile([{ ...group }], { members: [rowOf(group)], others: [] })).toEqual(nothing)
  })

  test('leaves a group that is no longer told, the last one too', () => {
    expect(planReconcile([], { members: [rowOf(group)], others: [] })).toEqual({
      ...nothing,
      remove: ['row of g'],
    })
  })

  test('removes nothing but memberships: a group the user is not in stays as it is', () => {
    expect(planReconcile([], { members: [], others: [rowOf(group)] })).toEqual(nothing)
  })

  test('renames a group and keeps its row', () => {
    const renamed = { ...group, displayName: 'Everyone' }
    const update = [{ id: 'row of g', ...renamed }]
    expect(planReconcile([renamed], { members: [rowOf(group)], others: [] })).toEqual({ ...nothing, update })
    expect(planReconcile([renamed], { members: [], others: [rowOf(group)] })).toEqual({
      ...nothing,
      update,
      add: ['row of g'],
    })
  })

  test.each<[string, Partial<RemoteMembership>]>([
    ['name', { displayName: 'staff' }],
    ['description', { description: '' }],
    ['mail address', { mail: 'staff@contoso.example' }],
    ['security flag', { securityEnabled: false }],
    ['mail flag', { mailEnabled: true }],
    ['types', { groupTypes: [] }],
  ])('writes a changed %s', (_, changed) => {
    const plan = planReconcile([{ ...group, ...changed }], { members: [rowOf(group)], others: [] })
    expect(plan.update).toEqual([{ id: 'row of g', ...group, ...changed }])
  })

  test('does not write a group because Graph tells its types in another order', () => {
    const types = { ...group, groupTypes: ['Unified', 'DynamicMembership'] }
    const row = rowOf(group, { groupTypes: ['DynamicMembership', 'Unified'] })
    expect(planReconcile([types], { members: [row], others: [] })).toEqual(nothing)
  })

  test('does not write a known label that Graph does not tell', () => {
    expect(planReconcile([limitedGroup('g')], { members: [rowOf(group)], others: [] })).toEqual(nothing)
  })

  test('fills a label that was unknown', () => {
    const row = rowOf(limitedGroup('g'))
    expect(planReconcile([group], { members: [row], others: [] }).update).toEqual([{ id: row.id, ...group }])
  })

  test('does not touch labels that a newer read has told, but fills what that one left unknown', () => {
    const renamed = { ...group, displayName: 'Old name' }
    expect(planReconcile([renamed], { members: [rowOf(group, { newer: true })], others: [] })).toEqual(
      nothing,
    )
    const gap = rowOf(group, { newer: true, mail: null })
    expect(planReconcile([renamed], { members: [gap], others: [] }).update).toHaveLength(1)
  })

  test('takes back that a group was deleted when it is told again', () => {
    const plan = planReconcile([group], { members: [], others: [rowOf(group, { deleted: true })] })
    expect(plan).toMatchObject({ add: ['row of g'], update: [{ id: 'row of g' }] })
  })

  test('makes two groups of two ids with one name', () => {
    const twin = { ...group, objectId: 'twin' }
    expect(planReconcile([group, twin], { members: [], others: [] }).create).toHaveLength(2)
  })

  test('takes a group that is told twice once', () => {
    expect(planReconcile([group, { ...group }], { members: [], others: [] }).create).toHaveLength(1)
  })

  test('drops what Postgres cannot hold from labels, and only that', () => {
    const [created] = planReconcile([{ ...group, displayName: 'a\u0000b\ud800c😀' }], {
      members: [],
      others: [],
    }).create
    expect(created?.displayName).toBe('ab\ufffdc😀')
  })
})

const storedGroup = fc
  .tuple(remoteMembership, fc.boolean(), fc.boolean(), fc.boolean())
  .map(([remote, deleted, newer, member]) => ({
    row: rowOf(
      {
        ...remote,
        displayName: storable(remote.displayName),
        description: storable(remote.description),
        mail: storable(remote.mail),
        groupTypes: remote.groupTypes?.toSorted() ?? null,
      },
      { deleted, newer },
    ),
    member,
  }))

const storedGroups: fc.Arbitrary<Stored> = fc
  .uniqueArray(storedGroup, { selector: ({ row }) => row.objectId, maxLength: 12 })
  .map((all) => ({
    members: all.filter(({ member }) => member).map(({ row }) => row),
    others: all.filter(({ member }) => !member).map(({ row }) => row),
  }))

/** What the tables hold after a plan, by the rules that the applying statement follows. */
function afterwards(stored: Stored, plan: ReturnType<typeof planReconcile>): Stored {
  const rows = new Map([...stored.members, ...stored.others].map((row) => [row.id, row]))
  const joined = new Set(stored.members.map(({ id }) => id))
  for (const { id, ...told } of plan.update) {
    const row = rows.get(id)
    if (!row) throw new Error('an update without a row')
    const merged = row.newer ? { ...told, ...toldOf(row) } : { ...row, ...toldOf(told) }
    rows.set(id, { ...row, ...merged, deleted: false })
  }
  for (const told of plan.create) rows.set(`row of ${told.objectId}`, rowOf(told))
  for (const id of [...plan.add, ...plan.create.map(({ objectId }) => `row of ${objectId}`)]) joined.add(id)
  for (const id of plan.remove) joined.delete(id)
  const all = [...rows.values()]
  return { members: all.filter(({ id }) => joined.has(id)), others: all.filter(({ id }) => !joined.has(id)) }
}

function toldOf<Labels extends object>(labels: Labels): Partial<Labels> {
  return Object.fromEntries(Object.entries(labels).filter(([, label]) => label !== null)) as Partial<Labels>
}

describe('for any snapshot and any stored state', () => {
  test('carrying out the plan leaves exactly the remote memberships', () => {
    fc.assert(
      fc.property(remoteMemberships, storedGroups, (remote, stored) => {
        const after = afterwards(stored, planReconcile(remote, stored))
        expect(after.members.map(({ objectId }) => objectId).toSorted()).toEqual(
          remote.map(({ objectId }) => objectId).toSorted(),
        )
      }),
    )
  })

  test('planning again afterwards gives nothing to do', () => {
    fc.assert(
      fc.property(remoteMemberships, storedGroups, (remote, stored) => {
        expect(planReconcile(remote, afterwards(stored, planReconcile(remote, stored)))).toEqual(nothing)
      }),
      { numRuns: 300 },
    )
  })

  test('only stored memberships are removed, and none that is told', () => {
    fc.assert(
      fc.property(remoteMemberships, storedGroups, (remote, stored) => {
        const told = new Set(remote.map(({ objectId }) => `row of ${objectId}`))
        const members = new Set(stored.members.map(({ id }) => id))
        for (const id of planReconcile(remote, stored).remove) {
          expect(members.has(id) && !told.has(id)).toBe(true)
        }
      }),
    )
  })
})
