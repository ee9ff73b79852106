import { randomUUID } from 'node:crypto'
import { beforeEach, describe, expect, test } from 'vitest'
import { noticeDeletions } from '../src/deletions.ts'
import { Throttled } from '../src/errors.ts'
import { defaultApp } from '../src/simulator/index.ts'
import { syncUser } from '../src/sync.ts'
import type { Workers } from '../workers/main.ts'
import { givenWorld } from './support/people.ts'
import { partsWith, type World } from './support/world.ts'

const groupsAsked = /\/groups\/[0-9a-f-]{36}$/

describe('a sign-in', () => {
  const { open, storedGroups, remoteGroups, signedIn, login: loginUntilApplied } = givenWorld()
  let world: World
  let workers: Workers
  let [ada, ben]: string[] = []
  let shared: string

  beforeEach(async () => {
    world = await open({
      backend: 'postgres',
      seed: {
        apps: [{ ...defaultApp, multiTenant: true }],
        otherTenants: [{ name: 'fabrikam', users: 0, groups: 0 }],
      },
    })
    const { tenant } = world.simulator
    ada = tenant.addUser({ displayName: 'Ada' }).id
    ben = tenant.addUser({ displayName: 'Ben' }).id
    const all = tenant.addGroup({ displayName: 'All', kind: 'security' }).id
    shared = tenant.addGroup({ displayName: 'Staff', kind: 'security' }).id
    for (const person of [ada, ben]) for (const group of [all, shared]) tenant.addMember(group, person)
    workers = await world.startWorkers()
    for (const person of [ada, ben]) expect(await login(person)).toMatchObject({ outcome: 'applied' })
  })

  /** The run is recorded before it asks whether groups still exist, and logged after. */
  async function login(objectId: string) {
    const result = await loginUntilApplied(objectId)
    const runId = 'runId' in result ? result.runId : ''
    const isLogged = (line: string) => line.includes('sync run ended') && line.includes(runId)
    while (!world.logged.some(isLogged)) await new Promise((resolve) => setImmediate(resolve))
    return result
  }

  const removals = async () => {
    const rows = await world.db.$client<{ person: string; group: string; runs: number; outcome: string }[]>`
      select u.object_id as person, g.object_id as "group", r.outcome, count(distinct c.run_id)::int as runs
      from membership_changes c join users u on u.id = c.user_id join groups g on g.id = c.group_id
        join sync_runs r on r.id = c.run_id
      where c.change = 'removed' group by 1, 2, 3`
    return rows.toSorted((a, b) => (a.person < b.person ? -1 : 1))
  }
  const people = () => [ada ?? '', ben ?? ''].toSorted()
  const asked = () => world.simulator.requests.all({ path: groupsAsked })
  const ended = () => world.logged.filter((line) => line.includes('sync run ended')).at(-1) ?? ''

  test('that learns of a deleted group takes everybody out of it, by one request of its own priority', async () => {
    world.simulator.tenant.deleteGroup(shared)
    world.simulator.requests.clear()
    expect(await login(ada ?? '')).toMatchObject({ outcome: 'applied' })
    expect(await storedGroups(ben ?? '')).toEqual(remoteGroups(ben ?? ''))
    const removed = { group: shared, runs: 1, outcome: 'applied' }
    expect(await removals()).toEqual(people().map((person) => ({ person, ...removed })))
    expect(asked()).toHaveLength(1)
    const batches = world.simulator.requests.all({ path: /\$batch$/ })
    expect(batches.map(({ headers }) => headers['x-ms-throttle-priority'])).toEqual(['high', 'high'])
    expect(ended()).toContain('"deletions":{"asked":1,"groups":1,"memberships":1}')
    expect(await login(ben ?? '')).toMatchObject({ outcome: 'unchanged' })
    expect(await removals()).toHaveLength(2)
  })

  test('that leaves a group which still exists takes nobody else out of it', async () => {
    world.simulator.tenant.removeMember(shared, ada ?? '')
    await login(ada ?? '')
    expect(asked()).toHaveLength(1)
    expect(await storedGroups(ben ?? '')).toContain(shared)
  })

  test('asks nothing where nothing was left, and nothing where nobody else is in the group', async () => {
    const own = world.simulator.tenant.addGroup({ displayName: 'Own', kind: 'security' }).id
    world.simulator.tenant.addMember(own, ada ?? '')
    await login(ada ?? '')
    world.simulator.tenant.deleteGroup(own)
    world.simulator.requests.clear()
    expect(await login(ada ?? '')).toMatchObject({ outcome: 'applied' })
    expect(world.simulator.requests.all({ path: /\$batch$/ })).toHaveLength(1)
    expect(ended()).not.toContain('deletions')
  })

  test.for([
    ['is throttled', { status: 429, headers: { 'Retry-After': '60' } }],
    ['fails', { status: 500 }],
    ['is refused', { status: 401 }],
    ['gives no batch', { status: 200, body: '[]' }],
  ] as const)('is applied once also where that question %s', async ([, fault]) => {
    world.simulator.tenant.deleteGroup(shared)
    const batches = world.simulator.requests.all({ path: /\$batch$/ }).length
    // The read of Ada's groups is left alone: only the batch after it is spoilt.
    world.simulator.faults.next({ on: { path: /\$batch$/ }, rewrite: (body) => body })
    const spoilt = world.simulator.faults.next({ on: { path: /\$batch$/ }, ...fault })
    expect(await login(ada ?? '')).toMatchObject({ outcome: 'applied' })
    expect(spoilt.remaining()).toBe(0)
    expect(world.simulator.requests.all({ path: /\$batch$/ })).toHaveLength(batches + 2)
    expect(await storedGroups(ben ?? '')).toContain(shared)
    const runs = await world.db.$client`select outcome from sync_runs where removed > 0`
    expect(runs).toEqual([{ outcome: 'applied' }])
    expect(await world.db.$client`select from sync_runs where outcome = 'failed'`).toHaveLength(0)
  })

  test.for([
    ['all of it', { on: { path: /\$batch$/ } }],
    ['one group of it', { on: { path: groupsAsked } }],
  ] as const)('pauses the tenant for everybody where %s is throttled', async ([, on]) => {
    world.simulator.tenant.deleteGroup(shared)
    if (on.on.path !== groupsAsked)
      world.simulator.faults.next({ on: { path: /\$batch$/ }, rewrite: (body) => body })
    const spoilt = world.simulator.faults.next({ ...on, status: 429, headers: { 'Retry-After': '60' } })
    expect(await login(ada ?? '')).toMatchObject({ outcome: 'applied' })
    expect(spoilt.remaining()).toBe(0)
    expect((await world.budget.state())?.pausedMs).toBeGreaterThan(50_000)
  })

  const noticedBy = () => ({
    db: world.db,
    tenantId: world.simulator.tenant.id,
    run: { id: randomUUID() },
    guard: undefined,
  })
  const asAda = () => ({
    openGraph: async () => {
      const { access_token } = await world.simulator.signIn(ada ?? '')
      return world.source.openGraph(access_token, 'high')
    },
    asker: { objectId: ada ?? '' },
    budget: world.budget,
    priority: 'high' as const,
  })
  async function rowOf(objectId: string): Promise<string> {
    const [row] = await world.db.$client<
      { id: string }[]
    >`select id from groups where object_id = ${objectId}`
    return row?.id ?? ''
  }

  test('whose database fails on the deletion is no failure either', async () => {
    const end = await noticeDeletions(noticedBy(), ['no id'], asAda())
    expect(end).toMatchObject({ asked: 0, failed: 'database_failed' })
  })

  test('takes nobody out of a group that the token of a person of another tenant does not find', async () => {
    const { simulator, context } = world
    const fabrikam = simulator.otherTenants[0]
    const eve = fabrikam?.tenant.addUser({ displayName: 'Eve' }).id ?? ''
    simulator.tenant.removeMember(shared, ada ?? '')
    await workers.stop()
    let isRead = false
    const parts = partsWith(world, {
      openGraph: (...args) => {
        const graph = world.source.openGraph(...args)
        return {
          ...graph,
          request: async (request) => {
            const answer = await graph.request(request)
            if (!isRead) await context.loginSucceeded(await signedIn(ada ?? '', eve, fabrikam))
            isRead = true
            return answer
          },
        }
      },
    })
    const [user] = await world.db.$client<
      { id: string }[]
    >`select id from users where object_id = ${ada ?? ''}`
    const job = { userId: user?.id ?? '', tenantId: simulator.tenant.id, source: 'entra-id' }
    const end = await syncUser(parts, { ...job, cause: 'login' })
    expect(end).toMatchObject({ outcome: 'applied', deletions: { asked: 1, groups: 0, memberships: 0 } })
    expect(await storedGroups(ben ?? '')).toContain(shared)
  })

  test('asks nothing of a tenant that is paused, and makes its pause no longer', async () => {
    world.simulator.tenant.deleteGroup(shared)
    await world.budget.pause('high', new Throttled(60_000, 'asked before'))
    world.simulator.requests.clear()
    const slot = await world.budget.takeTurn({ priority: 'high' }).catch((error: Throttled) => error.slot)
    expect(await noticeDeletions(noticedBy(), [await rowOf(shared)], asAda())).toMatchObject({
      asked: 1,
      groups: 0,
      failed: 'throttled',
    })
    expect(world.simulator.requests.all({})).toHaveLength(0)
    const after = await world.budget.takeTurn({ priority: 'high' }).catch((error: Throttled) => error.slot)
    expect(after).toMatchObject({ generation: typeof slot === 'object' ? slot.generation : NaN })
    expect(await storedGroups(ben ?? '')).toContain(shared)
  })

  test.for([
    [2, 0.5, 2],
    [3, 0.5, 0],
    [2, 0.6, 0],
  ] as const)(
    'takes nobody out of deleted groups where from %i removals and a share of %d on it would be %i too many',
    async ([minRemovals, maxShare, held]) => {
      world.simulator.tenant.deleteGroup(shared)
      const noticed = { ...noticedBy(), guard: { minRemovals, maxShare } }
      const end = await noticeDeletions(noticed, [await rowOf(shared)], asAda())
      expect(end).toEqual(
        held > 0 ? { asked: 1, groups: 0, memberships: 0, held } : { asked: 1, groups: 1, memberships: 2 },
      )
      for (const person of [ada ?? '', ben ?? ''])
        expect((await storedGroups(person)).includes(shared)).toBe(held > 0)
    },
  )
})
