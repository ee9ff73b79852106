import { afterEach, describe, expect, test } from 'vitest'
import type { Simulator } from '../src/simulator/index.ts'
import { batchAnswer, groupPage } from './support/graph-answers.ts'
import { givenMember, missing, targetFor } from './support/graph-member.ts'
import { ask, cast, eventual, refusal, select, type Target } from './support/graph-requests.ts'

let simulator: Simulator
let target: Target

givenMember((given) => ({ simulator, target } = given))
afterEach(() => simulator.faults.clear())

describe('faults', () => {
  const page = (top: number) => `${cast}?${select}&$top=${top}&$count=true`

  test('spoil the page they name, as often as they say, and nothing else', async () => {
    const fault = simulator.faults.next({
      on: { page: 2 },
      status: 503,
      headers: { 'retry-after': '7' },
      times: 2,
    })
    const first = groupPage.parse((await ask(target, page(999), { headers: eventual })).json)
    for (const left of [1, 0]) {
      const { status, headers } = await ask(target, first['@odata.nextLink'] ?? '', { headers: eventual })
      expect([status, headers.get('retry-after'), fault.remaining()]).toStrictEqual([503, '7', left])
    }
    expect((await ask(target, first['@odata.nextLink'] ?? '', { headers: eventual })).status).toBe(200)
  })

  test('spoil one user and leave others alone', async () => {
    const other = await targetFor(simulator, simulator.tenant.users()[0] ?? missing())
    simulator.faults.next({ on: { user: target.userPrincipalName }, status: 429 })
    expect((await ask(other, '/me')).status).toBe(200)
    expect(await refusal(target, '/me')).toMatchObject({ status: 429, code: 'TooManyRequests' })
    expect((await ask(target, '/me')).status).toBe(200)
  })

  test('spoil one request of a batch', async () => {
    simulator.faults.next({ on: { path: /\/v1\.0\/me$/ }, status: 429, headers: { 'Retry-After': '3' } })
    const requests = ['/me', '/me/memberOf?$top=1'].map((url, id) => ({ id: String(id), method: 'GET', url }))
    const { json } = await ask(target, '/$batch', { body: { requests } })
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
    expect((await ask(target, '/me')).text).toBe('<html>busy</html>')
    simulator.faults.next({
      on: { page: 1 },
      rewrite: (body) => ({ ...Object(body), '@odata.nextLink': 'https://evil.example/' }),
    })
    expect((await ask(target, page(5), { headers: eventual })).json).toMatchObject({
      '@odata.nextLink': 'https://evil.example/',
    })
  })

  test('cut the connection before or in the middle of an answer', async () => {
    simulator.faults.next({ cut: 'before-headers' })
    await expect(ask(target, '/me')).rejects.toThrow('fetch failed')
    simulator.faults.next({ cut: 'mid-body' })
    await expect(ask(target, page(999), { headers: eventual })).rejects.toThrow('terminated')
  })

  test('hang until the client gives up', async () => {
    simulator.faults.next({ hang: true })
    const gaveUp = fetch(`${target.graphUrl}/v1.0/me`, { signal: AbortSignal.timeout(100) })
    await expect(gaveUp).rejects.toThrow(/timeout/)
  })

  test('every request is on record, those inside a batch beside it', async () => {
    simulator.requests.clear()
    await ask(target, '/$batch', { body: { requests: [{ id: '1', method: 'GET', url: '/me?$select=id' }] } })
    const seen = simulator.requests
      .all()
      .map(({ method, path, query, via }) => ({ method, path, query, via }))
    expect(seen).toStrictEqual([
      { method: 'POST', path: '/v1.0/$batch', query: '', via: undefined },
      { method: 'GET', path: '/v1.0/me', query: '$select=id', via: '$batch' },
    ])
  })
})
