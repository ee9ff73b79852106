import { randomUUID } from 'node:crypto'
import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { approvedRemovals, approveRun, listRuns } from '../db/sync-runs.ts'
import { guardPlan, guardReach, releaseApproved } from '../src/reconcile/guard.ts'
import type { Plan } from '../src/reconcile/plan.ts'
import { reconcile } from '../src/reconcile/reconcile.ts'
import { createTestDatabase, type TestDatabase } from './support/database.ts'
import { changesOf, groupsOf, nextMoment } from './support/reconciled.ts'
import { remoteGroup } from './support/remote-memberships.ts'
import { insertUser } from './support/users.ts'

const limits = { minRemovals: 20, maxShare: 0.5 }
const planThatRemoves = (removals: number): Plan => ({
  create: [
    {
      objectId: 'new',
      displayName: null,
      description: null,
      mail: null,
      securityEnabled: null,
      mailEnabled: null,
      groupTypes: null,
    },
  ],
  update: [],
  add: ['known'],
  remove: Array.from({ length: removals }, () => randomUUID()),
})

test.for([
  [19, 19, 0],
  [20, 20, 20],
  [20, 40, 20],
  [20, 41, 0],
  [500, 1001, 0],
  [501, 1001, 501],
  [0, 0, 0],
] as const)(
  'a plan that removes %i of %i memberships is held for %i of them',
  ([removals, memberships, held]) => {
    const plan = planThatRemoves(removals)
    const guarded = guardPlan(plan, memberships, limits)
    expect(guarded.held).toEqual(held > 0 ? plan.remove : [])
    expect(guarded.plan).toEqual(held > 0 ? { ...plan, remove: [] } : plan)
  },
)

test('what is agreed to passes, group by group, and nothing else of a plan that is held', () => {
  fc.assert(
    fc.property(fc.uniqueArray(fc.uuid()), fc.uniqueArray(fc.uuid()), (agreed, others) => {
      const plan = { ...planThatRemoves(0), remove: [] }
      const released = releaseApproved({ plan, held: [...others, ...agreed] }, new Set(agreed))
      expect(released.plan).toEqual({ ...plan, remove: agreed })
      expect(released.held).toEqual(others.filter((id) => !agreed.includes(id)))
    }),
  )
})

test('a guard never adds, and removes all of a plan or nothing', () => {
  fc.assert(
    fc.property(fc.nat(100), fc.nat(100), (removals, others) => {
      const plan = planThatRemoves(removals)
      const { plan: left, held } = guardPlan(plan, removals + others, limits)
      expect(left.create).toBe(plan.create)
      expect(left.add).toBe(plan.add)
      expect([...left.remove, ...held]).toEqual(plan.remove)
      expect([0, removals]).toContain(held.length)
    }),
  )
})

describe('with a database', () => {
  let database: TestDatabase
  beforeAll(async () => {
    database = await createTestDatabase()
  })
  afterAll(() => database.close())

  async function sync(user: { userId: string; tenantId: string }, remote: ReturnType<typeof remoteGroup>[]) {
    const beganAt = nextMoment()
    const run = { id: randomUUID(), source: 'entra-id', cause: 'login' as const, startedAt: beganAt }
    const snapshot = { beganAt, memberships: remote, requestId: undefined }
    return { ...(await reconcile(database.db, user, snapshot, run, { guard: limits })), runId: run.id }
  }
  const state = async (userId: string) => {
    const [row] = await database.db.$client`select sync_state from users where id = ${userId}`
    return row?.['sync_state']
  }
  const many = Array.from({ length: 30 }, () => remoteGroup())

  test('a held plan removes nothing, adds what is new, and says so on the run and the user', async () => {
    const user = await insertUser(database.db)
    await sync(user, many)
    const added = remoteGroup()
    expect(await sync(user, [added])).toMatchObject({
      outcome: 'held',
      counts: { held: 30, removed: 0, added: 1 },
    })
    expect(await groupsOf(database.db, user)).toHaveLength(31)
    expect(await state(user.userId)).toBe('held')
    expect((await listRuns(database.db, user.userId, 1))[0]).toMatchObject({
      outcome: 'held',
      held: 30,
      added: 1,
    })
    // The same answer again is looked at in full, and held again.
    expect(await sync(user, [added])).toMatchObject({ outcome: 'held', counts: { held: 30, added: 0 } })
    expect(await changesOf(database.db, user)).toHaveLength(31)
  })

  test('after the approval the next read removes, in the change log with its own run', async () => {
    const user = await insertUser(database.db)
    await sync(user, many)
    const { runId } = await sync(user, [])
    expect(await approveRun(database.db, runId)).toMatchObject({ userId: user.userId, held: 30 })
    const applied = await sync(user, [])
    expect(applied).toMatchObject({ outcome: 'applied', counts: { removed: 30, held: 0 } })
    expect(await groupsOf(database.db, user)).toEqual([])
    expect(await state(user.userId)).toBe('synced')
    const removed = (await changesOf(database.db, user)).filter(({ change }) => change === 'removed')
    expect(new Set(removed.map((change) => change.runId))).toEqual(new Set([applied.runId]))
  })

  test('an approval does not cover a larger removal than was held', async () => {
    const user = await insertUser(database.db)
    await sync(user, many)
    const { runId } = await sync(user, many.slice(25))
    await approveRun(database.db, runId)
    expect(await sync(user, [])).toMatchObject({ outcome: 'held', counts: { held: 5, removed: 25 } })
    expect(await groupsOf(database.db, user)).toHaveLength(5)
  })

  test('an approval of some groups removes no others, however few they are', async () => {
    const user = await insertUser(database.db)
    await sync(user, many)
    const { runId } = await sync(user, many.slice(0, 5))
    await approveRun(database.db, runId)
    const other = await sync(user, many.slice(25))
    expect(other).toMatchObject({ outcome: 'held', counts: { removed: 20, held: 5 } })
    expect((await groupsOf(database.db, user)).toSorted()).toEqual(
      [...many.slice(0, 5), ...many.slice(25)].map(({ objectId }) => objectId).toSorted(),
    )
  })

  test('an approval nobody has carried out for a week is none', async () => {
    const user = await insertUser(database.db)
    await sync(user, many)
    const { runId } = await sync(user, [])
    await approveRun(database.db, runId)
    await database.db
      .$client`update sync_runs set approved_at = now() - interval '8 days' where id = ${runId}`
    expect(await sync(user, [])).toMatchObject({ outcome: 'held', counts: { held: 30 } })
  })

  test('a later clean run ends what was held: it can no longer be approved, nor does an old approval count', async () => {
    const user = await insertUser(database.db)
    await sync(user, many)
    const approved = await sync(user, [])
    await approveRun(database.db, approved.runId)
    const { runId } = await sync({ ...user }, many)
    expect(runId).toBeDefined()
    expect(await approveRun(database.db, approved.runId)).toBeUndefined()
    expect(await approvedRemovals(database.db, user.userId)).toEqual(new Set())
    expect(await sync(user, [])).toMatchObject({ outcome: 'held' })
  })

  test('a run that held nothing can not be approved', async () => {
    const user = await insertUser(database.db)
    const { runId } = await sync(user, many)
    expect(await approveRun(database.db, runId)).toBeUndefined()
    expect(await approveRun(database.db, randomUUID())).toBeUndefined()
  })

  test('the last few memberships go without asking', async () => {
    const user = await insertUser(database.db)
    await sync(user, many.slice(0, 19))
    expect(await sync(user, [])).toMatchObject({ outcome: 'applied', counts: { removed: 19 } })
  })
})

test('what a token without a permission does not list is held where it was read with it, however little it is', () => {
  const plan = { create: [], update: [], add: ['x'], remove: ['a'] }
  const reach = fc.record({ hidden: fc.boolean(), groups: fc.boolean() })
  fc.assert(
    fc.property(reach, reach, (before, now) => {
      const isLost = (before.hidden && !now.hidden) || (before.groups && !now.groups)
      expect(guardReach(plan, { before, now })).toEqual(
        isLost ? { plan: { ...plan, remove: [] }, held: ['a'], by: 'reach' } : { plan, held: [] },
      )
    }),
  )
})
