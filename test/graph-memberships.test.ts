import { afterAll, afterEach, beforeAll, expect, test } from 'vitest'
import { createGraphClient } from '../src/graph/client.ts'
import { readMemberships } from '../src/graph/memberships.ts'
import { startSimulator, type Simulator, type User } from '../src/simulator/index.ts'

let simulator: Simulator
let person: User
const beganAt = '2026-01-01T00:00:00.000000Z'

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
  options: {
    scope?: string
    read?: 'transitive' | 'direct'
    objectId?: string
    timeoutMs?: number
    maxBytes?: number
  } = {},
) {
  const { access_token: accessToken } = await simulator.signIn(
    person.id,
    options.scope === undefined ? {} : { scope: options.scope },
  )
  const { timeoutMs = 5000, maxBytes = 16 * 1024 * 1024 } = options
  const client = createGraphClient({ baseUrl: simulator.graphUrl, accessToken, timeoutMs, maxBytes })
  return await readMemberships(client, {
    objectId: options.objectId ?? person.id,
    read: options.read ?? 'transitive',
    beganAt,
  })
}

const ids = (memberships: readonly { objectId: string }[]) =>
  memberships.map(({ objectId }) => objectId).toSorted()
const expected = (transitive: boolean) =>
  ids(simulator.tenant.groupsOf(person.id, { transitive }).map(({ id }) => ({ objectId: id })))

function joinGroups(count: number, prefix: string): void {
  for (let index = 0; index < count; index += 1) {
    const group = simulator.tenant.addGroup({ displayName: `${prefix} ${index}`, kind: 'security' })
    simulator.tenant.addMember(group.id, person.id)
  }
}

test('a person in no group gives a complete, empty snapshot', async () => {
  expect(await read()).toMatchObject({ beganAt, memberships: [] })
})

test('nested groups are read, and left out where only direct memberships are wanted', async () => {
  const team = simulator.tenant.addGroup({ displayName: 'Team', kind: 'security', description: 'us' })
  const everyone = simulator.tenant.addGroup({ displayName: 'Everyone', kind: 'security' })
  simulator.tenant.addMember(team.id, person.id)
  simulator.tenant.nest(everyone.id, team.id)
  expect(ids((await read()).memberships)).toEqual([team.id, everyone.id].toSorted())
  expect(ids((await read({ read: 'direct' })).memberships)).toEqual([team.id])
  expect((await read()).memberships.find(({ objectId }) => objectId === team.id)).toEqual({
    objectId: team.id,
    displayName: 'Team',
    description: 'us',
    mail: null,
    securityEnabled: true,
    mailEnabled: false,
    groupTypes: [],
  })
})

test('directory roles are no groups', async () => {
  const role = simulator.tenant.addDirectoryRole({ displayName: 'Global Reader' })
  simulator.tenant.addMember(role.id, person.id)
  expect(ids((await read()).memberships)).toEqual(expected(true))
})

test('without a group permission the labels are null and the memberships are still known', async () => {
  const { memberships } = await read({ scope: 'openid profile User.Read' })
  expect(ids(memberships)).toEqual(expected(true))
  expect(
    memberships.every(({ displayName, groupTypes }) => displayName === null && groupTypes === null),
  ).toBe(true)
})

test('all pages are read to the end, with the consistency header on each, and one request proves whose token it is', async () => {
  joinGroups(2500, 'Many')
  const { memberships } = await read()
  expect(ids(memberships)).toEqual(expected(true))
  const pages = simulator.requests.all({ path: /transitiveMemberOf/ })
  expect(pages.map(({ headers }) => headers['consistencylevel'])).toEqual([
    'eventual',
    'eventual',
    'eventual',
  ])
  expect(simulator.requests.all({ path: /\$batch$/ })).toHaveLength(1)
})

test.for([
  ['a 500 on page 2', { on: { page: 2 }, status: 500 }, 'graph_unavailable'],
  ['a 500 on page 3', { on: { page: 3 }, status: 500 }, 'graph_unavailable'],
  ['a socket cut in the middle of page 2', { on: { page: 2 }, cut: 'mid-body' }, 'graph_unavailable'],
  [
    'a socket cut before the headers of page 2',
    { on: { page: 2 }, cut: 'before-headers' },
    'graph_unavailable',
  ],
  [
    'an HTML page with status 200',
    { on: { page: 2 }, status: 200, body: '<html>busy</html>' },
    'graph_unavailable',
  ],
  ['an HTML 503', { on: { page: 2 }, status: 503, body: '<html>busy</html>' }, 'graph_unavailable'],
  ['a failed inner request of the batch', { on: { page: 1 }, status: 500 }, 'graph_unavailable'],
  [
    'a throttled inner request of the batch',
    { on: { page: 1 }, status: 429, headers: { 'Retry-After': '7' } },
    'throttled',
  ],
  [
    'a throttled inner request without a body',
    { on: { page: 1 }, status: 429, body: '', headers: { 'Retry-After': '7' } },
    'throttled',
  ],
  [
    'a throttled envelope',
    { on: { path: /\$batch$/ }, status: 429, headers: { 'Retry-After': '7' } },
    'throttled',
  ],
  [
    'a 503 that says when to come back',
    { on: { page: 2 }, status: 503, headers: { 'Retry-After': '7' } },
    'throttled',
  ],
  ['an envelope of 424', { on: { path: /\$batch$/ }, status: 424 }, 'graph_unavailable'],
  ['a 401', { on: { page: 2 }, status: 401 }, 'token_rejected'],
  ['a 403', { on: { page: 2 }, status: 403 }, 'access_denied'],
  [
    'an error beside an empty value',
    { on: { page: 2 }, rewrite: () => ({ value: [], error: { code: 'x', message: 'y' } }) },
    'unexpected_response',
  ],
  [
    'a next link under another name',
    {
      on: { page: 2 },
      rewrite: (body: unknown) => {
        const { '@odata.nextLink': link, ...rest } = body as Record<string, unknown>
        return { ...rest, '@odata.nextlink': link }
      },
    },
    'unexpected_response',
  ],
  [
    'fewer groups than were announced',
    {
      on: { page: 2 },
      rewrite: (body: unknown) => ({ value: (body as { value: unknown[] }).value }),
    },
    'graph_unavailable',
  ],
  [
    'an empty list without its count',
    { on: { page: 1 }, rewrite: () => ({ value: [] }) },
    'graph_unavailable',
  ],
  [
    'a next link that has expired',
    { on: { page: 2 }, status: 400, body: { error: { code: 'Directory_ExpiredPageToken', message: '' } } },
    'graph_unavailable',
  ],
  ['a page without a value', { on: { page: 2 }, status: 200, body: {} }, 'unexpected_response'],
  [
    'a group without an id',
    { on: { page: 2 }, status: 200, body: { value: [{ displayName: 'x' }] } },
    'unexpected_response',
  ],
  [
    'a batch without answers',
    { on: { path: /\$batch$/ }, status: 200, body: { responses: [] } },
    'unexpected_response',
  ],
] as const)('%s gives no snapshot but its own error code', async ([, fault, code]) => {
  simulator.faults.next({ ...fault })
  await expect(read()).rejects.toMatchObject({ code })
})

test.for([200, 424] as const)(
  'a throttled request inside a batch of %i says when to come back',
  async (batchEnvelope) => {
    simulator.throttle.set({ size: 10, batchEnvelope })
    simulator.throttle.drain(1)
    await expect(read()).rejects.toMatchObject({ code: 'throttled', retryAfterMs: 1000 })
    simulator.throttle.set({ size: 'unlimited', batchEnvelope: 200 })
  },
)

test('an answer that never ends is given up in time, and one that is too long at the limit', async () => {
  simulator.faults.next({ on: { page: 2 }, hang: true })
  await expect(read({ timeoutMs: 200 })).rejects.toMatchObject({ code: 'graph_unavailable' })
  await expect(read({ maxBytes: 10_000 })).rejects.toMatchObject({ code: 'answer_too_large' })
})

test('groups that a page repeats count once', async () => {
  let first: unknown[] = []
  simulator.faults.next({
    on: { page: 1 },
    rewrite: (body) => {
      first = (body as { value: unknown[] }).value
      return body
    },
  })
  simulator.faults.next({
    on: { page: 2 },
    rewrite: (body) => ({ ...(body as object), value: [...first, ...(body as { value: unknown[] }).value] }),
  })
  expect(ids((await read()).memberships)).toEqual(expected(true))
})

test('an empty page with a next link is not the end', async () => {
  let cut: unknown[] = []
  simulator.faults.next({
    on: { page: 2 },
    rewrite: (body) => {
      cut = (body as { value: unknown[] }).value
      return { ...(body as object), value: [] }
    },
  })
  simulator.faults.next({
    on: { page: 3 },
    rewrite: (body) => ({ ...(body as object), value: [...cut, ...(body as { value: unknown[] }).value] }),
  })
  expect(ids((await read()).memberships)).toEqual(expected(true))
})

test('a next link that repeats is an error and not an endless walk', async () => {
  let link: unknown
  simulator.faults.next({
    on: { page: 1 },
    rewrite: (body) => {
      link = (body as Record<string, unknown>)['@odata.nextLink']
      return body
    },
  })
  simulator.faults.next({
    on: { page: 2 },
    times: Number.POSITIVE_INFINITY,
    rewrite: (body) => ({ ...(body as object), '@odata.nextLink': link }),
  })
  await expect(read()).rejects.toMatchObject({ code: 'unexpected_response' })
})

test('a token of another person gives no snapshot, whatever it can read', async () => {
  const other = simulator.tenant.addUser({ displayName: 'Eve' })
  await expect(read({ objectId: other.id })).rejects.toMatchObject({ code: 'wrong_user' })
})

test('requests say that a person waits for them', async () => {
  await read()
  expect(simulator.requests.all({ path: /\$batch$/ })[0]?.headers['x-ms-throttle-priority']).toBe('high')
})
