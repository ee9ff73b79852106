import { afterAll, beforeEach, describe, expect, test } from 'vitest'
import { startSimulator, type Group, type Simulator, type User } from '../src/simulator/index.ts'
import { appOnly } from './support/app-only.ts'
import { readPage, readRound } from './support/delta-rounds.ts'
import { ask, refusal, type Target } from './support/graph-requests.ts'

const day = 24 * 60 * 60 * 1000
let now = Date.now()
const simulator: Simulator = await startSimulator({ users: 0, groups: 0, https: false, now: () => now })
const { tenant, delta } = simulator
const groupsDelta = '/groups/delta?$select=displayName,members'
let on: Target
let group: Group
let user: User

const since = async (link: string) => (await readRound(on, link)).entries
const members = (entries: Awaited<ReturnType<typeof since>>, id: string) =>
  entries.flatMap((entry) => (entry.id === id ? (entry['members@delta'] ?? []) : []))

beforeEach(async () => {
  simulator.reset()
  group = tenant.addGroup({ displayName: 'First' })
  user = tenant.addUser({ displayName: 'Ada' })
  tenant.addMember(group.id, user.id)
  on = await appOnly(simulator)
})
afterAll(() => simulator.close())

describe('a first round', () => {
  test('tells every group with its direct members and their types, and ends with a delta link', async () => {
    const nested = tenant.addGroup({ displayName: 'Nested' })
    tenant.nest(group.id, nested.id)
    const { pages, entries } = await readRound(on, groupsDelta)
    expect(pages).toHaveLength(1)
    expect(pages[0]?.['@odata.context']).toContain('/v1.0/$metadata#groups(displayName,members)')
    expect(entries).toHaveLength(2)
    expect(entries.find(({ id }) => id === group.id)).toStrictEqual({
      id: group.id,
      displayName: 'First',
      'members@delta': expect.arrayContaining([
        { '@odata.type': '#microsoft.graph.user', id: user.id },
        { '@odata.type': '#microsoft.graph.group', id: nested.id },
      ]),
    })
    expect(entries.find(({ id }) => id === nested.id)).toStrictEqual({ id: nested.id, displayName: 'Nested' })
  })

  test('tells members without a $select too, and none where $select leaves them out', async () => {
    const [all] = await since('/groups/delta')
    expect(all).toMatchObject({ securityEnabled: true, 'members@delta': [{ id: user.id }] })
    const [named] = await since('/groups/delta?$select=displayName')
    expect(named).toStrictEqual({ id: group.id, displayName: 'First' })
    const [person] = await since('/users/delta?$select=displayName')
    expect(person).toStrictEqual({ id: user.id, displayName: 'Ada' })
  })

  test('is cut into pages, and large groups into slices with the group repeated', async () => {
    const people = Array.from({ length: 6 }, () => tenant.addUser())
    for (const { id } of people) tenant.addMember(group.id, id)
    delta.set({ pageSize: 2, membersPerPage: 3 })
    const { pages, entries } = await readRound(on, groupsDelta)
    expect(pages.map(({ value }) => value.map((each) => each['members@delta']?.length))).toStrictEqual([
      [3],
      [3],
      [1],
    ])
    expect(new Set(members(entries, group.id).map(({ id }) => id))).toStrictEqual(
      new Set([user, ...people].map(({ id }) => id)),
    )
    expect((await readRound(on, '/users/delta')).pages.map(({ value }) => value.length)).toStrictEqual([
      2, 2, 2, 1,
    ])
  })

  test('is spared with the token latest, from which on changes are told', async () => {
    const { pages, deltaLink } = await readRound(on, `${groupsDelta}&$deltatoken=latest`)
    expect(pages).toMatchObject([{ value: [] }])
    tenant.renameGroup(group.id, 'Later')
    expect(await since(deltaLink)).toMatchObject([{ id: group.id, displayName: 'Later' }])
  })

  test('can be narrowed to fifty ids', async () => {
    tenant.addGroup({ displayName: 'Other' })
    const filter = (ids: readonly string[]) =>
      `/groups/delta?$filter=${ids.map((id) => `id eq '${id}'`).join(' or ')}`
    const { entries, deltaLink } = await readRound(on, filter([group.id]))
    expect(entries.map(({ id }) => id)).toStrictEqual([group.id])
    tenant.addGroup({ displayName: 'Third' })
    expect(await since(deltaLink)).toStrictEqual([])
    const many = Array.from({ length: 51 }, () => crypto.randomUUID())
    expect(await refusal(on, filter(many))).toMatchObject({ status: 400, code: 'Request_UnsupportedQuery' })
    expect(await refusal(on, "/groups/delta?$filter=displayName eq 'First'")).toMatchObject({ status: 400 })
  })

  test.each(['$top=5', '$orderby=displayName', '$expand=members', '$search="displayName:First"'])(
    'refuses %s',
    async (option) => {
      expect(await refusal(on, `/groups/delta?${option}`)).toMatchObject({
        status: 400,
        code: 'Request_UnsupportedQuery',
      })
    },
  )
})

test('devices and apps are members beside people and groups, and no users', async () => {
  const device = tenant.addDevice({ displayName: 'Laptop' })
  const principal = tenant.addServicePrincipal({ displayName: 'Backup' })
  const { deltaLink } = await readRound(on, groupsDelta)
  for (const { id } of [device, principal]) tenant.addMember(group.id, id)
  const told = [device, principal].map(({ id, '@odata.type': type }) => ({ '@odata.type': type, id }))
  expect(members(await since(deltaLink), group.id)).toStrictEqual(told)
  expect(members(await since(groupsDelta), group.id)).toStrictEqual(expect.arrayContaining(told))
  const all = (await ask(on, `/groups/${group.id}/members?$select=id,displayName`)).json
  // What the app may not read is there with type and id.
  expect(all).toHaveProperty(
    'value',
    expect.arrayContaining(told.map((each) => expect.objectContaining(each))),
  )
  const people = `/groups/${group.id}/transitiveMembers/microsoft.graph.user?$count=true&$select=id`
  expect((await ask(on, people, { headers: { ConsistencyLevel: 'eventual' } })).json).toMatchObject({
    '@odata.count': 1,
    value: [{ id: user.id }],
  })
})

describe('a round of changes', () => {
  test('is one page without entries after nothing changed, as often as it is asked', async () => {
    const { deltaLink } = await readRound(on, groupsDelta)
    const again = await readRound(on, deltaLink)
    expect(again.pages).toMatchObject([{ value: [] }])
    tenant.renameGroup(group.id, 'First')
    tenant.addMember(group.id, user.id)
    expect(await since(again.deltaLink)).toStrictEqual([])
    expect(await since(deltaLink)).toStrictEqual([])
  })

  test('tells members who came and went, whether they left the group or the directory', async () => {
    const [goes, vanishes] = [tenant.addUser(), tenant.addUser()]
    for (const { id } of [goes, vanishes]) tenant.addMember(group.id, id)
    const { deltaLink } = await readRound(on, groupsDelta)
    const comes = tenant.addUser()
    tenant.addMember(group.id, comes.id)
    tenant.removeMember(group.id, goes.id)
    tenant.purgeUser(vanishes.id)
    expect(await since(deltaLink)).toStrictEqual([
      {
        id: group.id,
        displayName: 'First',
        'members@delta': [
          { '@odata.type': '#microsoft.graph.user', id: comes.id },
          { '@odata.type': '#microsoft.graph.user', id: goes.id, '@removed': { reason: 'deleted' } },
          { '@odata.type': '#microsoft.graph.user', id: vanishes.id, '@removed': { reason: 'deleted' } },
        ],
      },
    ])
  })

  test('tells a soft deletion as changed, a purge as deleted, and what was restored as new', async () => {
    const first = await readRound(on, '/users/delta')
    tenant.deleteUser(user.id)
    const second = await readRound(on, first.deltaLink)
    expect(second.entries).toStrictEqual([{ id: user.id, '@removed': { reason: 'changed' } }])
    tenant.restoreUser(user.id)
    delta.set({ properties: 'changed' })
    const third = await readRound(on, second.deltaLink)
    expect(third.entries).toMatchObject([{ id: user.id, displayName: 'Ada', givenName: null }])
    tenant.purgeUser(user.id)
    expect(await since(third.deltaLink)).toStrictEqual([{ id: user.id, '@removed': { reason: 'deleted' } }])
  })

  test('tells no member of a group while they are softly deleted, nor when they are restored', async () => {
    const { deltaLink } = await readRound(on, groupsDelta)
    tenant.deleteUser(user.id)
    expect(await since(deltaLink)).toStrictEqual([])
    tenant.restoreUser(user.id)
    expect(await since(deltaLink)).toStrictEqual([])
    expect(tenant.groupsOf(user.id)).toHaveLength(1)
    tenant.deleteUser(user.id)
    tenant.purgeUser(user.id)
    expect(members(await since(deltaLink), group.id)).toMatchObject([{ '@removed': { reason: 'deleted' } }])
  })

  test('tells a restored group with all its members, in slices', async () => {
    for (let index = 0; index < 4; index++) tenant.addMember(group.id, tenant.addUser().id)
    const first = await readRound(on, groupsDelta)
    tenant.deleteGroup(group.id)
    const second = await readRound(on, first.deltaLink)
    expect(second.entries).toStrictEqual([{ id: group.id, '@removed': { reason: 'changed' } }])
    tenant.restoreGroup(group.id)
    delta.set({ membersPerPage: 2 })
    const { pages } = await readRound(on, second.deltaLink)
    expect(pages.map(({ value }) => members(value, group.id).length)).toStrictEqual([2, 2, 1])
  })

  test('tells only what was selected, and with return=minimal only what changed', async () => {
    const { deltaLink } = await readRound(on, '/groups/delta?$select=displayName,description')
    tenant.updateGroup(group.id, { mail: 'first@contoso.example' })
    tenant.addMember(group.id, tenant.addUser().id)
    expect(await since(deltaLink)).toStrictEqual([])
    tenant.updateGroup(group.id, { description: 'Changed' })
    expect(await since(deltaLink)).toStrictEqual([
      { id: group.id, displayName: 'First', description: 'Changed' },
    ])
    const { value } = await readPage(on, deltaLink, { prefer: 'return=minimal' })
    expect(value).toStrictEqual([{ id: group.id, description: 'Changed' }])
  })
})

describe('a delta link', () => {
  const link = async (path = groupsDelta) => (await readRound(on, path)).deltaLink

  test('that is seven days old is refused with 400, with 410, or leads to a new start', async () => {
    const old = await link()
    now += 7 * day - 1
    expect((await ask(on, old)).status).toBe(401)
    on = await appOnly(simulator)
    expect((await ask(on, old)).status).toBe(200)
    now += 1
    expect(await refusal(on, old)).toMatchObject({ status: 400, code: 'syncStateNotFound' })
    delta.set({ expired: 410 })
    expect(await refusal(on, old)).toMatchObject({ status: 410, code: 'syncStateNotFound' })
    delta.set({ expired: 'reset' })
    expect((await ask(on, old)).headers.get('location')).toBe(
      `${simulator.graphUrl}/v1.0/groups/delta?$deltatoken=`,
    )
  })

  test('that was forgotten answers 410, and its Location starts from the beginning', async () => {
    const forgotten = await link()
    delta.forgetTokens()
    const { status, headers } = await ask(on, forgotten)
    expect(status).toBe(410)
    const { entries } = await readRound(on, headers.get('location') ?? '')
    expect(entries).toMatchObject([{ id: group.id, 'members@delta': [{ id: user.id }] }])
  })

  test('is forgotten by a reset of the simulator, and good for one of the two queries', async () => {
    const other = (await link('/users/delta')).replace('/users/', '/groups/')
    expect(await refusal(on, other)).toMatchObject({ status: 400 })
    const forgotten = await link()
    simulator.reset()
    expect((await ask(await appOnly(simulator), forgotten)).status).toBe(410)
  })
})

describe('a client that reads changes', () => {
  test('sees none younger than the lag of delta queries, whatever other reads show', async () => {
    const { deltaLink } = await readRound(on, groupsDelta)
    delta.lag.set(60_000)
    tenant.renameGroup(group.id, 'Later')
    expect(await since(deltaLink)).toStrictEqual([])
    expect((await ask(on, `/groups/${group.id}`)).json).toMatchObject({ displayName: 'Later' })
    now += 60_000
    expect(await since(deltaLink)).toMatchObject([{ displayName: 'Later' }])
    delta.lag.hold()
    tenant.deleteGroup(group.id)
    expect(await since(deltaLink)).toMatchObject([{ displayName: 'Later' }])
    delta.lag.catchUp()
    expect(await since(deltaLink)).toMatchObject([{ '@removed': { reason: 'changed' } }])
  })

  test('needs the permission for each query, and Member.Read.Hidden for hidden members', async () => {
    const hidden = { kind: 'microsoft365', visibility: 'HiddenMembership' } as const
    const secret = tenant.addGroup({ displayName: 'Secret', ...hidden })
    tenant.addMember(secret.id, user.id)
    expect(members(await since(groupsDelta), secret.id)).toStrictEqual([])
    const asUsers = await appOnly(simulator, ['User.Read.All'])
    expect(await refusal(asUsers, groupsDelta)).toMatchObject({ status: 403 })
    expect((await ask(asUsers, '/users/delta')).status).toBe(200)
    on = await appOnly(simulator, ['GroupMember.Read.All', 'Member.Read.Hidden'])
    expect(await refusal(on, '/users/delta')).toMatchObject({ status: 403 })
    expect(members(await since(groupsDelta), secret.id)).toMatchObject([{ id: user.id }])
    on = await appOnly(simulator, ['Directory.Read.All'])
    expect((await ask(on, '/users/delta')).status).toBe(200)
    expect((await ask(on, groupsDelta)).headers.get('x-ms-resource-unit')).toBe('1')
  })

  test('meets faults on a certain page', async () => {
    delta.set({ pageSize: 1 })
    tenant.addGroup({ displayName: 'Second' })
    simulator.faults.next({ on: { path: '/groups/delta', page: 2 }, status: 503 })
    const first = await readPage(on, groupsDelta)
    expect((await ask(on, first['@odata.nextLink'] ?? '')).status).toBe(503)
    expect((await ask(on, first['@odata.nextLink'] ?? '')).status).toBe(200)
  })
})
