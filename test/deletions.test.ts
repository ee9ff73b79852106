import { randomUUID } from 'node:crypto'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { noticeDeletions } from '../src/deletions.ts'
import { createGraphClient } from '../src/graph/client.ts'
import { readDeletedGroups } from '../src/graph/groups.ts'
import { startSimulator, type Simulator, type User } from '../src/simulator/index.ts'
import { givenWorld } from './support/people.ts'
import type { World } from './support/world.ts'

const groupsAsked = /\/groups\/[0-9a-f-]{36}$/

describe('asking Graph whether groups exist', () => {
  let simulator: Simulator
  let person: User
  beforeAll(async () => {
    simulator = await startSimulator({ users: 0, groups: 0, https: false })
    person = simulator.tenant.addUser({ displayName: 'Ada' })
  })
  afterEach(() => {
    simulator.faults.clear()
    simulator.requests.clear()
  })
  afterAll(() => simulator.close())

  async function read(objectIds: readonly string[], scope?: string, user = person) {
    const { access_token: accessToken } = await simulator.signIn(
      user.id,
      scope === undefined ? {} : { scope },
    )
    const client = createGraphClient({ baseUrl: simulator.graphUrl, accessToken })
    return (await readDeletedGroups(client, objectIds)).objectIds
  }

  function groups(count: number): string[] {
    return Array.from(
      { length: count },
      (_, index) => simulator.tenant.addGroup({ displayName: `Group ${index}`, kind: 'security' }).id,
    )
  }

  test('a group that Graph does not find is deleted, one that it finds is not, however its answers are ordered', async () => {
    const [gone = '', kept = '', restored = ''] = groups(3)
    for (const id of [gone, restored]) simulator.tenant.deleteGroup(id)
    simulator.tenant.restoreGroup(restored)
    expect(await read([kept, gone, restored])).toEqual([gone])
  })

  const notFound = { error: { code: 'Request_ResourceNotFound', message: '' } }
  test.for([
    ['403', { status: 403 }],
    ['429', { status: 429 }],
    ['500', { status: 500 }],
    ['410', { status: 410, body: notFound }],
    ['404 of another code', { status: 404, body: { error: { code: 'ResourceNotFound', message: '' } } }],
    ['404 without a code', { status: 404, body: { error: {} } }],
    ['404 that is a page', { status: 404, body: '<html>not found</html>' }],
    ['200 with the body of a 404', { status: 200, body: notFound }],
  ] as const)('a %s proves nothing of its group, and the others are still known', async ([, fault]) => {
    const [gone = '', other = ''] = groups(2)
    for (const id of [gone, other]) simulator.tenant.deleteGroup(id)
    simulator.faults.next({ ...fault, on: { path: `/v1.0/groups/${other}` } })
    expect(await read([gone, other])).toEqual([gone])
  })

  test('an answer that is missing, or given twice, proves nothing', async () => {
    const [gone = '', other = ''] = groups(2)
    for (const id of [gone, other]) simulator.tenant.deleteGroup(id)
    const change = (responses: { id: string }[]) => responses.filter(({ id }) => id !== 'group-1')
    const rewrite = (how: typeof change) => (body: unknown) => ({
      responses: how((body as { responses: { id: string }[] }).responses),
    })
    simulator.faults.next({ on: { path: /\$batch$/ }, rewrite: rewrite(change) })
    expect(await read([gone, other])).toEqual([gone])
    simulator.faults.next({
      on: { path: /\$batch$/ },
      rewrite: rewrite((responses) => [...responses, { id: 'group-1', status: 200 } as { id: string }]),
    })
    expect(await read([gone, other])).toEqual([gone])
    simulator.faults.next({ on: { path: /\$batch$/ }, rewrite: () => ({ value: [] }) })
    expect(await read([gone, other])).toEqual([])
  })

  test('a guest, and a token that may not read groups, prove nothing', async () => {
    const [gone = ''] = groups(1)
    simulator.tenant.deleteGroup(gone)
    const guest = simulator.tenant.addUser({ displayName: 'Eve', guest: true })
    expect(guest.userType).toBe('Guest')
    expect(await read([gone], undefined, guest)).toEqual([])
    expect(await read([gone], 'openid profile User.Read')).toEqual([])
  })

  test('no more are asked for than one batch holds', async () => {
    const gone = groups(21)
    for (const id of gone) simulator.tenant.deleteGroup(id)
    expect(await read(gone)).toEqual(gone.slice(0, 19))
    expect(simulator.requests.all({ path: /\$batch$/ })).toHaveLength(1)
  })
})

describe('a sign-in', () => {
  const { open, storedGroups, remoteGroups, login: loginUntilApplied } = givenWorld()
  let world: World
  let [ada, ben]: string[] = []
  let shared: string

  beforeEach(async () => {
    world = await open({ backend: 'postgres' })
    const { tenant } = world.simulator
    ada = tenant.addUser({ displayName: 'Ada' }).id
    ben = tenant.addUser({ displayName: 'Ben' }).id
    const all = tenant.addGroup({ displayName: 'All', kind: 'security' }).id
    shared = tenant.addGroup({ displayName: 'Staff', kind: 'security' }).id
    for (const person of [ada, ben]) for (const group of [all, shared]) tenant.addMember(group, person)
    await world.startWorkers()
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

  test('whose database fails on the deletion is no failure either', async () => {
    const closed = { db: world.db, tenantId: world.simulator.tenant.id }
    const end = await noticeDeletions(
      closed,
      ['no id'],
      { id: randomUUID() },
      {
        openGraph: () => Promise.reject(new Error()),
        settle: async () => undefined,
        pause: async () => undefined,
      },
    )
    expect(end).toMatchObject({ asked: 0, failed: 'database_failed' })
  })
})
