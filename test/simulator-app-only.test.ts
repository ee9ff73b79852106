import { decodeJwt } from 'jose'
import { afterAll, beforeEach, describe, expect, test } from 'vitest'
import { z } from 'zod'
import { defaultApp, startSimulator, type Group, type Simulator, type User } from '../src/simulator/index.ts'
import { appOnly, askAppToken } from './support/app-only.ts'
import { batchAnswer, groupPage } from './support/graph-answers.ts'
import { ask, eventual, refusal, walk, type Target } from './support/graph-requests.ts'

let now = Date.now()
const simulator: Simulator = await startSimulator({ users: 0, groups: 0, https: false, now: () => now })
const { tenant } = simulator
const groupsOf = (id: string) =>
  `/users/${id}/transitiveMemberOf/microsoft.graph.group?$select=id,displayName&$count=true`
let people: User[]
let group: Group
let on: Target

beforeEach(async () => {
  simulator.reset()
  group = tenant.addGroup({ displayName: 'Parent' })
  const nested = tenant.addGroup({ displayName: 'Nested' })
  tenant.nest(group.id, nested.id)
  people = Array.from({ length: 20 }, () => tenant.addUser())
  for (const { id } of people) tenant.addMember(nested.id, id)
  on = await appOnly(simulator)
})
afterAll(() => simulator.close())

describe('a token of an app itself', () => {
  test('has the permissions that the tenant granted as roles, and no user', async () => {
    expect(decodeJwt(on.token)).toMatchObject({
      idtyp: 'app',
      appid: defaultApp.clientId,
      roles: defaultApp.applicationRoles,
    })
    expect(decodeJwt(on.token)).not.toHaveProperty('scp')
    const hidden = await appOnly(simulator, ['Member.Read.Hidden', 'Directory.Read.All'])
    expect(decodeJwt(hidden.token)['roles']).toStrictEqual(['Member.Read.Hidden', 'Directory.Read.All'])
  })

  test('is issued without any permission too, and then reads nothing', async () => {
    const nothing = await appOnly(simulator, [])
    expect(decodeJwt(nothing.token)).not.toHaveProperty('roles')
    for (const path of ['/users', '/groups', '/users/delta', '/groups/delta', groupsOf(people[0]?.id ?? '')])
      expect(await refusal(nothing, path, { headers: eventual })).toMatchObject({
        status: 403,
        code: 'Authorization_RequestDenied',
      })
  })

  test('keeps the permissions it was issued with when they change', async () => {
    const before = await appOnly(simulator, ['User.Read.All'])
    const after = await appOnly(simulator, [])
    expect((await ask(before, '/users')).status).toBe(200)
    expect((await ask(after, '/users')).status).toBe(403)
  })

  test('expires after the time it was issued for, and as the app that it is of asks for no refresh', async () => {
    const answer = z
      .strictObject({
        token_type: z.literal('Bearer'),
        expires_in: z.int(),
        ext_expires_in: z.int(),
        access_token: z.string(),
      })
      .parse(await (await askAppToken(simulator)).json())
    const fresh = { ...on, token: answer.access_token }
    now += (answer.expires_in - 1) * 1000
    expect((await ask(fresh, '/users')).status).toBe(200)
    now += 2000
    expect(await refusal(fresh, '/users')).toMatchObject({ status: 401, code: 'InvalidAuthenticationToken' })
  })

  test('shows groups with hidden membership with Member.Read.Hidden only', async () => {
    const hidden = { kind: 'microsoft365', visibility: 'HiddenMembership' } as const
    const secret = tenant.addGroup({ displayName: 'Secret', ...hidden })
    tenant.addMember(secret.id, people[0]?.id ?? '')
    const read = async (target: Target) =>
      groupPage
        .parse((await ask(target, groupsOf(people[0]?.id ?? ''), { headers: eventual })).json)
        .value.map(({ id }) => id)
    expect(await read(on)).not.toContain(secret.id)
    expect(await read(await appOnly(simulator, ['User.Read.All', 'Member.Read.Hidden']))).toContain(secret.id)
  })
})

describe('twenty people in a batch', () => {
  const read = async () => {
    const requests = people.map(({ id }) => ({ id, method: 'GET', url: groupsOf(id), headers: eventual }))
    const { status, json } = await ask(on, '/$batch', { body: { requests } })
    expect(status).toBe(200)
    return new Map(batchAnswer.parse(json).responses.map((each) => [each.id, each]))
  }
  const [first, second] = [() => people[0]?.id ?? '', () => people[1]?.id ?? '']

  test('have their groups, each in an answer of its own, and who was deleted a 404', async () => {
    tenant.deleteUser(first())
    tenant.purgeUser(second())
    const answers = await read()
    const gone = [first(), second()]
    expect(gone.map((id) => answers.get(id))).toMatchObject(
      gone.map(() => ({ status: 404, body: { error: { code: 'Request_ResourceNotFound' } } })),
    )
    const rest = people.flatMap(({ id }) => (gone.includes(id) ? [] : (answers.get(id) ?? [])))
    expect(rest.map(({ status, body }) => [status, groupPage.parse(body).value.length])).toStrictEqual(
      Array.from({ length: 18 }, () => [200, 2]),
    )
  })

  test('are refused one by one where the app lacks the permission', async () => {
    on = await appOnly(simulator, [])
    expect([...(await read()).values()].map(({ status }) => status)).toStrictEqual(people.map(() => 403))
  })

  test('meet faults one by one, by path and by user', async () => {
    simulator.faults.next({ on: { user: first() }, status: 429, headers: { 'retry-after': '2' } })
    simulator.faults.next({ on: { path: second() }, status: 403 })
    const answers = await read()
    expect(answers.get(first())).toMatchObject({ status: 429, headers: { 'retry-after': '2' } })
    expect(answers.get(second())?.status).toBe(403)
    expect([...answers.values()].filter(({ status }) => status === 200)).toHaveLength(18)
    expect([...(await read()).values()].every(({ status }) => status === 200)).toBe(true)
  })
})

describe('the objects of ids', () => {
  const getByIds = '/directoryObjects/getByIds'
  const answer = z.object({
    '@odata.context': z.string(),
    value: z.array(z.looseObject({ '@odata.type': z.string(), id: z.guid() })),
  })

  test('are those that exist, of the types asked for, and take Directory.Read.All', async () => {
    const [person] = people
    const ids = [group.id, person?.id, crypto.randomUUID()]
    expect(await refusal(on, getByIds, { body: { ids } })).toMatchObject({ status: 403 })
    on = await appOnly(simulator, ['Directory.Read.All'])
    const read = async (types?: string[]) =>
      answer.parse((await ask(on, getByIds, { body: { ids, types } })).json).value.map(({ id }) => id)
    expect(await read()).toStrictEqual([group.id, person?.id])
    expect(await read(['user'])).toStrictEqual([person?.id])
    expect(await read(['group', 'device'])).toStrictEqual([group.id])
  })

  test('are told for a thousand ids at once, at a price that $select lowers', async () => {
    on = await appOnly(simulator, ['Directory.Read.All'])
    const ids = Array.from({ length: 1001 }, () => crypto.randomUUID())
    expect(await refusal(on, getByIds, { body: { ids } })).toMatchObject({ status: 400 })
    const whole = await ask(on, getByIds, { body: { ids: ids.slice(1) } })
    expect([whole.status, whole.headers.get('x-ms-resource-unit')]).toStrictEqual([200, '5'])
    const selected = await ask(on, `${getByIds}?$select=id`, { body: { ids: [] } })
    expect(selected.headers.get('x-ms-resource-unit')).toBe('2')
  })
})

test('all people below a group are counted and read page by page', async () => {
  tenant.addMember(group.id, people[0]?.id ?? '')
  const path = `/groups/${group.id}/transitiveMembers/microsoft.graph.user`
  const pages = await walk(on, `${path}?$select=id&$count=true&$top=8`, groupPage)
  expect(pages.map(({ value }) => value.length)).toStrictEqual([8, 8, 4])
  expect(pages.map((page) => page['@odata.count'])).toStrictEqual([20, undefined, undefined])
  expect(new Set(pages.flatMap(({ value }) => value.map(({ id }) => id)))).toStrictEqual(
    new Set(people.map(({ id }) => id)),
  )
  expect((await ask(on, `${path}/$count`, { headers: eventual })).text).toBe('20')
  expect(await refusal(on, path)).toMatchObject({ status: 400, code: 'Request_UnsupportedQuery' })
})
