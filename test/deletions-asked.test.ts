import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { createGraphClient } from '../src/graph/client.ts'
import { readDeletedGroups, type Asker } from '../src/graph/groups.ts'
import { startSimulator, type Simulator, type User } from '../src/simulator/index.ts'

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

  async function read(
    objectIds: readonly string[],
    scope?: string,
    user = person,
    asker: Asker = { objectId: user.id },
  ) {
    const { access_token: accessToken } = await simulator.signIn(
      user.id,
      scope === undefined ? {} : { scope },
    )
    const client = createGraphClient({ baseUrl: simulator.graphUrl, accessToken })
    return (await readDeletedGroups(client, objectIds, asker)).objectIds
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

  test('a token of anybody but who was asked about proves nothing', async () => {
    const [gone = ''] = groups(1)
    simulator.tenant.deleteGroup(gone)
    const other = simulator.tenant.addUser({ displayName: 'Ben' })
    expect(await read([gone], undefined, other, { objectId: person.id })).toEqual([])
    expect(await read([gone], undefined, other, { objectId: other.id.toUpperCase() })).toEqual([gone])
  })

  test('no more are asked for than one batch holds', async () => {
    const gone = groups(21)
    for (const id of gone) simulator.tenant.deleteGroup(id)
    expect(await read(gone)).toEqual(gone.slice(0, 19))
    expect(simulator.requests.all({ path: /\$batch$/ })).toHaveLength(1)
  })
})
