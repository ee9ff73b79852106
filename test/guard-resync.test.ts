import { randomUUID } from 'node:crypto'
import fc from 'fast-check'
import { expect, test } from 'vitest'
import type { Database } from '../db/client.ts'
import { approveRun, listRuns } from '../db/sync-runs.ts'
import { guardResync } from '../src/reconcile/guard.ts'
import type { Plan } from '../src/reconcile/plan.ts'
import type { Rules, Subject } from '../src/reconcile/reconcile.ts'
import { changesOf, groupsOf, statementsOf, sync, type SyncOptions } from './support/reconciled.ts'
import { remoteGroup } from './support/remote-memberships.ts'
import { givenUser, insertUser } from './support/users.ts'

const planThatRemoves = (removals: number): Plan => ({
  create: [],
  update: [],
  add: ['known'],
  remove: Array.from({ length: removals }, () => randomUUID()),
})
const limits = { minRemovals: 200, maxShare: 0.1 }

test.for([
  [1, 199, 1801, 1],
  [1, 198, 0, 0],
  [1, 199, 1802, 0],
  [200, 0, 2000, 200],
  [200, 0, 2001, 0],
  [0, 500, 100, 0],
] as const)('of %i removals, after %i of the resync and with %i memberships left, %i are held', (row) => {
  const [removals, removed, memberships, held] = row
  const plan = planThatRemoves(removals)
  const guarded = guardResync(plan, { removed, memberships }, limits)
  expect(guarded.held).toEqual(held > 0 ? plan.remove : [])
  expect(guarded.plan).toEqual(held > 0 ? { ...plan, remove: [] } : plan)
})

test('plans of one resync that are applied never reach both limits together, in whatever order they come', () => {
  fc.assert(
    fc.property(fc.array(fc.nat(80)), fc.nat(3000), (plans, memberships) => {
      let removed = 0
      for (const removals of plans) {
        const { plan } = guardResync(
          planThatRemoves(removals),
          { removed, memberships: memberships - removed },
          limits,
        )
        removed += plan.remove.length
      }
      expect(removed >= limits.minRemovals && removed >= memberships * limits.maxShare).toBe(false)
    }),
  )
})

let db: Database
let user: Subject
givenUser((given) => ({ db, user } = given))

const rules: Partial<Rules> = { resyncGuard: { minRemovals: 4, maxShare: 0.2 } }

async function openResync(): Promise<string> {
  const id = randomUUID()
  await db.$client`insert into resyncs (id, source, mode, cause) values (${id}, ${`source ${id}`}, 'full', 'manual')`
  return id
}

/** Five people of the user's tenant, each in the same three groups: 15 memberships. */
async function people() {
  const groups = [remoteGroup(), remoteGroup(), remoteGroup()]
  const subjects = await Promise.all([1, 2, 3, 4, 5].map(() => insertUser(db, user.tenantId)))
  for (const subject of subjects) await sync(db, subject, groups)
  return { groups, subjects }
}

test('a group that a resync would take from everybody goes until the limit; from there on plans are held', async () => {
  const { groups, subjects } = await people()
  const resyncId = await openResync()
  const added = remoteGroup()
  const rest = [...groups.slice(1), added]
  const ends = []
  for (const subject of subjects) ends.push(await sync(db, subject, rest, { resyncId, rules }))
  expect(ends.map(({ outcome }) => outcome)).toEqual(['applied', 'applied', 'applied', 'held', 'held'])
  expect(ends.map(({ counts }) => [counts.removed, counts.held, counts.added])).toEqual([
    [1, 0, 1],
    [1, 0, 1],
    [1, 0, 1],
    [0, 1, 1],
    [0, 1, 1],
  ])
  const last = subjects[4] ?? user
  expect(await groupsOf(db, last)).toHaveLength(4)
  expect((await listRuns(db, last.userId, 1))[0]).toMatchObject({ outcome: 'held', held: 1, resyncId })
  expect((await changesOf(db, last)).filter(({ change }) => change === 'removed')).toEqual([])
})

test('what another resync removed, and what sign-ins did, does not count', async () => {
  const { groups, subjects } = await people()
  const rest = groups.slice(1)
  const [first, second, third, fourth, fifth] = subjects.map((subject) => async (options: SyncOptions) => {
    const { outcome } = await sync(db, subject, rest, { rules, ...options })
    return outcome
  })
  await first?.({})
  await second?.({})
  await third?.({ resyncId: await openResync() })
  const resyncId = await openResync()
  expect(await fourth?.({ resyncId })).toBe('applied')
  expect(await fifth?.({ resyncId })).toBe('applied')
})

test('approving a run that was held for its resync covers that person, in a resync as well, and nobody else', async () => {
  const { groups, subjects } = await people()
  const resyncId = await openResync()
  for (const subject of subjects) await sync(db, subject, groups.slice(1), { resyncId, rules })
  const [held, other] = [subjects[3] ?? user, subjects[4] ?? user]
  const [run] = await listRuns(db, held.userId, 1)
  expect(await approveRun(db, run?.id ?? '')).toMatchObject({ held: 1 })
  const again = { resyncId, rules }
  expect(await sync(db, held, groups.slice(1), again)).toMatchObject({
    outcome: 'applied',
    counts: { removed: 1 },
  })
  expect(await sync(db, other, groups.slice(1), again)).toMatchObject({ outcome: 'held' })
})

test("a resync's guard costs one statement where a plan of it removes, and nothing elsewhere", async () => {
  const { groups, subjects } = await people()
  const resyncId = await openResync()
  const [first = user, second = user, third = user] = subjects
  expect(await statementsOf(db, () => sync(db, first, groups.slice(1), { rules }))).toHaveLength(3)
  expect(await statementsOf(db, () => sync(db, second, groups, { resyncId, rules }))).toHaveLength(1)
  const more = [...groups, remoteGroup()]
  expect(await statementsOf(db, () => sync(db, second, more, { resyncId, rules }))).toHaveLength(3)
  expect(await statementsOf(db, () => sync(db, third, groups.slice(1), { resyncId, rules }))).toHaveLength(4)
})
