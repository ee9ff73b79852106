import { randomUUID } from 'node:crypto'
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest'
import { maxUsersAsked, readMembershipsOf, type UserRead } from '../src/graph/batch-memberships.ts'
import { createGraphClient } from '../src/graph/client.ts'
import { defaultApp, faultsOf, startSimulator, type Simulator, type User } from '../src/simulator/index.ts'
import { appToken } from './support/entra-requests.ts'

const beganAt = '2026-01-01T00:00:00.000000Z'
/** May read groups, and nobody's account. */
const groupsOnly = {
  ...defaultApp,
  clientId: 'c0a7b1de-4f0e-4f57-9d3a-7d0f8e6b2c11',
  clientSecret: 'groups-only',
  applicationRoles: ['GroupMember.Read.All'],
}
const wholeDirectory = {
  ...defaultApp,
  clientId: 'd1b8c2ef-5a1f-4a68-8e4b-8e1a9f7c3d22',
  clientSecret: 'whole-directory',
  applicationRoles: ['Directory.Read.All'],
}
const team = 'c3d7a5b2-52b0-4d21-8b60-4f0f2f8f9a01'
let simulator: Simulator
/** In one group and through it in another; `busy` and `busier` fill more than one page. */
let ada: User
let bob: User
let busy: User
let busier: User

beforeAll(async () => {
  simulator = await startSimulator({
    users: 0,
    groups: 0,
    https: false,
    apps: [defaultApp, groupsOnly, wholeDirectory],
  })
})
afterEach(() => simulator.faults.clear())
afterAll(() => simulator.close())

beforeAll(() => {
  const { tenant } = simulator
  ada = tenant.addUser({ displayName: 'Ada', mail: 'ada@contoso.example', otherMails: ['a@home.example'] })
  bob = tenant.addUser({ displayName: 'Bob', accountEnabled: false })
  busy = tenant.addUser({ displayName: 'Busy' })
  busier = tenant.addUser({ displayName: 'Busier' })
  const inner = tenant.addGroup({ id: team, displayName: 'Team', kind: 'security' })
  tenant.addMember(inner.id, ada.id)
  tenant.nest(tenant.addGroup({ displayName: 'Everyone', kind: 'security' }).id, inner.id)
  for (let index = 0; index < 2100; index += 1) {
    const group = tenant.addGroup({ displayName: `Many ${index}`, kind: 'security' })
    for (const { id } of [busy, busier]) tenant.addMember(group.id, id)
  }
})

type Options = { read?: 'transitive' | 'direct'; withinMs?: number; app?: typeof defaultApp }

async function clientOf({ app = defaultApp }: Options = {}) {
  const accessToken = await appToken(simulator, app)
  simulator.requests.clear()
  return createGraphClient({ baseUrl: simulator.graphUrl, accessToken, timeoutMs: 5000 })
}

async function read(users: readonly string[], options: Options = {}) {
  const { read: which = 'transitive', withinMs } = options
  const within = withinMs === undefined ? {} : { withinMs }
  const reads = await readMembershipsOf(await clientOf(options), { users, read: which, beganAt, ...within })
  return users.map((user) => reads.get(user))
}

const groupsIn = (end: UserRead | undefined) =>
  end?.kind === 'snapshot' ? end.snapshot.memberships.map(({ objectId }) => objectId).toSorted() : end?.kind
const groupsOf = ({ id }: User) =>
  simulator.tenant
    .groupsOf(id, { transitive: true })
    .map((group) => group.id)
    .toSorted()
const failed = (code: string, more = {}) => ({ kind: 'failed', error: { code, ...more } })

test('people are read with their groups and their labels in one request, and a disabled account is told', async () => {
  const [first, second] = await read([ada.id, bob.id])
  expect(groupsIn(first)).toEqual(groupsOf(ada))
  expect(first).toMatchObject({
    enabled: true,
    snapshot: {
      beganAt,
      person: { displayName: 'Ada', mail: 'ada@contoso.example', otherMails: ['a@home.example'] },
      requestId: expect.any(String),
    },
  })
  expect(second).toMatchObject({
    kind: 'snapshot',
    enabled: false,
    snapshot: { memberships: [], person: { displayName: 'Bob' } },
  })
  expect(simulator.requests.all().filter(({ via }) => via === undefined)).toHaveLength(1)
})

test('direct memberships alone are read where the app may read the whole directory, and are refused where not', async () => {
  expect(await read([ada.id], { read: 'direct' })).toMatchObject([failed('access_denied')])
  const [first] = await read([ada.id], { read: 'direct', app: wholeDirectory })
  expect(groupsIn(first)).toEqual([team])
})

test('a full batch costs a unit a person and one for each list of them', async () => {
  const people = Array.from({ length: maxUsersAsked }, (_, index) =>
    simulator.tenant.addUser({ displayName: `Colleague ${index}` }),
  )
  const client = await clientOf()
  const users = people.map(({ id }) => id)
  const reads = await readMembershipsOf(client, { users, read: 'transitive', beganAt })
  expect([...reads.values()]).toMatchObject(
    people.map(({ displayName }) => ({ enabled: true, snapshot: { person: { displayName } } })),
  )
  expect(client.usage().units).toBe(maxUsersAsked + 2)
})

test('nobody costs nothing, and more people than a batch holds are a mistake', async () => {
  const client = await clientOf()
  expect(await readMembershipsOf(client, { users: [], read: 'transitive', beganAt })).toEqual(new Map())
  const users = Array.from({ length: maxUsersAsked + 1 }, () => randomUUID())
  await expect(readMembershipsOf(client, { users, read: 'transitive', beganAt })).rejects.toThrow(RangeError)
  expect(simulator.requests.all()).toEqual([])
})

test('whom Graph neither finds nor lists is gone, whoever else is asked about', async () => {
  const eve = simulator.tenant.addUser({ displayName: 'Eve' })
  simulator.tenant.deleteUser(eve.id)
  const reads = await read([eve.id, ada.id, "o'brien"])
  expect(reads.map((end) => end?.kind)).toEqual(['gone', 'snapshot', 'gone'])
})

test('a new person whom the index of groups does not know yet is not gone', async () => {
  simulator.lag.hold()
  const newcomer = simulator.tenant.addUser({ displayName: 'New' })
  expect(await read([newcomer.id])).toMatchObject([failed('graph_unavailable')])
  simulator.lag.catchUp()
  expect(await read([newcomer.id])).toMatchObject([{ kind: 'snapshot' }])
})

test('of a person deleted just now, whom the index still knows, nothing is known until it knows better', async () => {
  const leaver = simulator.tenant.addUser({ displayName: 'Leaver' })
  simulator.lag.hold()
  simulator.tenant.deleteUser(leaver.id)
  expect(await read([leaver.id])).toMatchObject([failed('graph_unavailable')])
  simulator.lag.catchUp()
  expect(await read([leaver.id])).toEqual([{ kind: 'gone' }])
})

test('an empty list of groups proves nothing about whom Graph does not list', async () => {
  simulator.faults.next({ on: { path: /\/users$/ }, rewrite: () => ({ value: [] }) })
  simulator.faults.next({ ...faultsOf.membersMissing(), on: { path: /transitiveMemberOf/ } })
  expect(await read([ada.id])).toMatchObject([failed('graph_unavailable')])
})

test('without the permission to read people their groups are read, and nobody is taken to be gone', async () => {
  const [known, unknown] = await read([ada.id, randomUUID()], { app: groupsOnly })
  expect(groupsIn(known)).toEqual(groupsOf(ada))
  expect(known).toMatchObject({ enabled: undefined, snapshot: { person: undefined } })
  expect(unknown).toMatchObject(failed('access_denied'))
})

test.for([
  ['fails', { status: 503, headers: { 'Retry-After': '7' } }, 'throttled'],
  ['goes on elsewhere', { rewrite: () => ({ value: [], '@odata.nextLink': 'x' }) }, 'graph_unavailable'],
  ['has an error beside it', { rewrite: () => ({ value: [], error: {} }) }, 'unexpected_response'],
  ['names somebody without an id', { rewrite: () => ({ value: [{ mail: 'x' }] }) }, 'unexpected_response'],
] as const)('a list of people that %s proves of nobody that they are gone', async ([, fault, code]) => {
  simulator.faults.next({ on: { path: /\/users$/ }, ...fault })
  const [known, unknown] = await read([ada.id, randomUUID()])
  expect(groupsIn(known)).toEqual(groupsOf(ada))
  expect(known).toMatchObject({ enabled: undefined, snapshot: { person: undefined } })
  expect(unknown).toMatchObject(failed(code))
})

test('whoever has more groups than fit a page is read to the end, with the consistency header on each', async () => {
  const reads = await read([busy.id, ada.id, busier.id])
  expect(reads.map(groupsIn)).toEqual([busy, ada, busier].map((person) => groupsOf(person)))
  const pages = simulator.requests.all({ path: /transitiveMemberOf/ })
  expect(pages).toHaveLength(3 + 1 + 3)
  expect(new Set(pages.map(({ headers }) => headers['consistencylevel']))).toEqual(new Set(['eventual']))
})

test.for([
  ['a 500', { status: 500 }, 'graph_unavailable'],
  ['a 404', { status: 404 }, 'graph_unavailable'],
  ['a 403', { status: 403 }, 'access_denied'],
  [
    'a link that leads away',
    { rewrite: (body: unknown) => ({ ...Object(body), '@odata.nextLink': 'https://evil.example/v1.0/x' }) },
    'unexpected_response',
  ],
  [
    'a link to itself',
    {
      times: Infinity,
      rewrite: (body: unknown, { url }: { url: string }) => ({ ...Object(body), '@odata.nextLink': url }),
    },
    'unexpected_response',
  ],
  ['fewer groups than announced', { rewrite: () => ({ value: [] }) }, 'graph_unavailable'],
] as const)('%s on a further page is the failure of that person alone', async ([, fault, code]) => {
  simulator.faults.next({ on: { page: 2, user: busy.id }, ...fault })
  const [first, second] = await read([busy.id, busier.id])
  expect(first).toMatchObject(failed(code))
  expect(groupsIn(second)).toEqual(groupsOf(busier))
})

test("the time for pages is each person's own, and none is needed for a single page", async () => {
  const [first, second] = await read([busy.id, ada.id], { withinMs: -1 })
  expect(first).toMatchObject(failed('graph_unavailable'))
  expect(groupsIn(second)).toEqual(groupsOf(ada))
})

test('once Graph asks for a pause no further page is asked for, and what is there already stays good', async () => {
  simulator.faults.next({ on: { page: 2 }, status: 429, headers: { 'Retry-After': '7' } })
  const paused = failed('throttled', { retryAfterMs: 7000 })
  const reads = await read([busy.id, busier.id, ada.id])
  expect(reads).toMatchObject([paused, paused, { kind: 'snapshot' }])
  expect(simulator.requests.all({ path: /transitiveMemberOf/ })).toHaveLength(3 + 1)
})

test.for([
  ['a 401', { status: 401 }, 'token_rejected'],
  ['a 403', { status: 403 }, 'access_denied'],
  ['a 429', { status: 429, headers: { 'Retry-After': '7' } }, 'throttled'],
  ['a 424 without answers', { status: 424 }, 'graph_unavailable'],
  ['no batch', { status: 200, body: { value: [] } }, 'unexpected_response'],
  ['a body cut short', { truncate: true }, 'graph_unavailable'],
] as const)('%s in place of the batch is an error for whoever asked', async ([, fault, code]) => {
  simulator.faults.next({ on: { path: /\$batch$/ }, ...fault })
  await expect(read([ada.id, bob.id])).rejects.toMatchObject({ code })
})
