import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { z } from 'zod'
import { startSimulator, type Simulator, type User } from '../src/simulator/index.ts'

type Target = { graphUrl: string; token: string }

const guid = z.guid()
const errorBody = z.object({
  error: z.object({
    code: z.string().min(1),
    message: z.string(),
    innerError: z.looseObject({ date: z.string(), 'request-id': guid, 'client-request-id': guid }),
  }),
})
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
afterEach(() => simulator.faults.clear())
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

async function refusal(path: string, asked: Asked = {}) {
  const { status, json } = await ask(path, asked)
  const { code, message } = errorBody.parse(json).error
  return { status, code, message }
}

describe('faults', () => {
  const page = (top: number) => `${cast}?${select}&$top=${top}&$count=true`

  test('spoil the page they name, as often as they say, and nothing else', async () => {
    const fault = simulator.faults.next({
      on: { page: 2 },
      status: 503,
      headers: { 'retry-after': '7' },
      times: 2,
    })
    const first = groupPage.parse((await ask(page(999), { headers: eventual })).json)
    for (const left of [1, 0]) {
      const { status, headers } = await ask(first['@odata.nextLink'] ?? '', { headers: eventual })
      expect([status, headers.get('retry-after'), fault.remaining()]).toStrictEqual([503, '7', left])
    }
    expect((await ask(first['@odata.nextLink'] ?? '', { headers: eventual })).status).toBe(200)
  })

  test('spoil one user and leave others alone', async () => {
    const other = await targetFor(undefined, simulator.tenant.users()[0])
    simulator.faults.next({ on: { user: member.userPrincipalName }, status: 429 })
    expect((await ask('/me', { on: other })).status).toBe(200)
    expect(await refusal('/me')).toMatchObject({ status: 429, code: 'TooManyRequests' })
    expect((await ask('/me')).status).toBe(200)
  })

  test('spoil one request of a batch', async () => {
    simulator.faults.next({ on: { path: /\/v1\.0\/me$/ }, status: 429, headers: { 'Retry-After': '3' } })
    const requests = ['/me', '/me/memberOf?$top=1'].map((url, id) => ({ id: String(id), method: 'GET', url }))
    const { json } = await ask('/$batch', { body: { requests } })
    const answers = batchAnswer.parse(json).responses.toSorted((a, b) => a.id.localeCompare(b.id))
    expect(answers.map(({ status }) => status)).toStrictEqual([429, 200])
    expect(answers[0]?.headers).toMatchObject({ 'Retry-After': '3' })
  })

  test('answer what is not JSON, and rewrite what is', async () => {
    simulator.faults.next({
      status: 503,
      headers: { 'content-type': 'text/html' },
      body: '<html>busy</html>',
    })
    expect((await ask('/me')).text).toBe('<html>busy</html>')
    simulator.faults.next({
      on: { page: 1 },
      rewrite: (body) => ({ ...Object(body), '@odata.nextLink': 'https://evil.example/' }),
    })
    expect((await ask(page(5), { headers: eventual })).json).toMatchObject({
      '@odata.nextLink': 'https://evil.example/',
    })
  })

  test('cut the connection before or in the middle of an answer', async () => {
    simulator.faults.next({ cut: 'before-headers' })
    await expect(ask('/me')).rejects.toThrow('fetch failed')
    simulator.faults.next({ cut: 'mid-body' })
    await expect(ask(page(999), { headers: eventual })).rejects.toThrow('terminated')
  })

  test('hang until the client gives up', async () => {
    simulator.faults.next({ hang: true })
    const gaveUp = fetch(`${target.graphUrl}/v1.0/me`, { signal: AbortSignal.timeout(100) })
    await expect(gaveUp).rejects.toThrow(/timeout/)
  })

  test('every request is on record, those inside a batch beside it', async () => {
    simulator.requests.clear()
    await ask('/$batch', { body: { requests: [{ id: '1', method: 'GET', url: '/me?$select=id' }] } })
    const seen = simulator.requests
      .all()
      .map(({ method, path, query, via }) => ({ method, path, query, via }))
    expect(seen).toStrictEqual([
      { method: 'POST', path: '/v1.0/$batch', query: '', via: undefined },
      { method: 'GET', path: '/v1.0/me', query: '$select=id', via: '$batch' },
    ])
  })
})
