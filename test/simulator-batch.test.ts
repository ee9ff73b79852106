import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { z } from 'zod'
import { startSimulator, type Simulator, type User } from '../src/simulator/index.ts'

type Target = { graphUrl: string; token: string }

const guid = z.guid()
const groupPage = z.looseObject({
  '@odata.nextLink': z.string().optional(),
  value: z.array(z.looseObject({ id: guid })),
})
const batchAnswer = z.strictObject({
  responses: z.array(
    z.object({
      id: z.string(),
      status: z.int(),
      headers: z.record(z.string(), z.string()),
      body: z.unknown().optional(),
    }),
  ),
})

const select = '$select=id,displayName,mail,mailEnabled,securityEnabled,groupTypes'
const cast = '/me/transitiveMemberOf/microsoft.graph.group'
const eventual = { ConsistencyLevel: 'eventual' }

let simulator: Simulator
let member: User
let target: Target

beforeAll(async () => {
  simulator = await startSimulator({ users: 60 })
  member = simulator.tenant.users().find(({ id }) => simulator.tenant.groupsOf(id).length > 999) ?? missing()
  target = await targetFor()
})
afterAll(() => simulator.close())

function missing(): never {
  throw new Error('the generated tenant lacks what the test needs')
}

async function targetFor(scope?: string, who = member): Promise<Target> {
  const tokens = await simulator.signIn(who.id, scope === undefined ? {} : { scope })
  return { graphUrl: simulator.graphUrl, token: tokens.access_token }
}

type Asked = { headers?: Record<string, string>; body?: unknown; on?: Target }

async function ask(path: string, { headers = {}, body, on = target }: Asked = {}) {
  const url = path.startsWith('http') ? path : `${on.graphUrl}/v1.0${path}`
  const answer = await fetch(url, {
    headers: { authorization: `Bearer ${on.token}`, 'content-type': 'application/json', ...headers },
    ...(body === undefined ? {} : { method: 'POST', body: JSON.stringify(body) }),
  })
  const text = await answer.text()
  const json: unknown = answer.headers.get('content-type')?.startsWith('application/json')
    ? JSON.parse(text)
    : undefined
  return { status: answer.status, headers: answer.headers, text, json }
}

describe('a batch', () => {
  const post = async (requests: unknown) => ask('/$batch', { body: { requests } })
  const responses = async (requests: unknown) => {
    const { status, json } = await post(requests)
    expect(status).toBe(200)
    return new Map(batchAnswer.parse(json).responses.map((each) => [each.id, each]))
  }

  test('is 200 whatever its items are, and each keeps its own status, headers and body', async () => {
    const answers = await responses([
      { id: '1', method: 'GET', url: '/me?$select=id' },
      { id: '2', method: 'GET', url: `/users/${crypto.randomUUID()}` },
      { id: '3', method: 'GET', url: `${cast}?${select}&$count=true`, headers: eventual },
      { id: '4', method: 'GET', url: `${cast}?${select}&$count=true` },
      {
        id: '5',
        method: 'POST',
        url: 'me/getMemberObjects',
        headers: { 'Content-Type': 'application/json' },
        body: { securityEnabledOnly: false },
      },
    ])
    expect(answers.get('1')).toMatchObject({ status: 200, body: { id: member.id } })
    expect(answers.get('2')).toMatchObject({
      status: 403,
      body: { error: { code: 'Authorization_RequestDenied' } },
    })
    expect(answers.get('3')?.status).toBe(200)
    expect(groupPage.parse(answers.get('3')?.body)['@odata.nextLink']).toMatch(
      `${target.graphUrl}/v1.0${cast}?`,
    )
    expect(answers.get('4')).toMatchObject({
      status: 400,
      body: { error: { code: 'Request_UnsupportedQuery' } },
    })
    expect(answers.get('5')).toMatchObject({ status: 200, headers: { 'x-ms-resource-unit': '2' } })
  })

  test('answers 424 to what depends on a failure', async () => {
    const answers = await responses([
      { id: 'b', method: 'GET', url: '/me', dependsOn: ['a'] },
      { id: 'a', method: 'GET', url: '/nothing' },
      { id: 'c', method: 'GET', url: '/me' },
    ])
    expect([answers.get('a')?.status, answers.get('b')?.status, answers.get('c')?.status]).toStrictEqual([
      400, 424, 200,
    ])
  })

  test.each([
    [
      'more than 20 requests',
      Array.from({ length: 21 }, (_, id) => ({ id: String(id), method: 'GET', url: '/me' })),
    ],
    ['an id given twice', [1, 2].map(() => ({ id: '1', method: 'GET', url: '/me' }))],
    ['an absolute url', [{ id: '1', method: 'GET', url: 'https://graph.example/v1.0/me' }]],
    ['a batch in the batch', [{ id: '1', method: 'POST', url: '/$batch', body: { requests: [] } }]],
    ['a circle of dependencies', [{ id: '1', method: 'GET', url: '/me', dependsOn: ['1'] }]],
    ['no requests', undefined],
  ])('with %s is refused whole', async (_, requests) => {
    expect((await post(requests)).status).toBe(400)
  })
})
