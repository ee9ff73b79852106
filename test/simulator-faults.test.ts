import { afterEach, describe, expect, test } from 'vitest'
import { z } from 'zod'
import { faultsOf, type Simulator } from '../src/simulator/index.ts'
import { batchAnswer, groupPage } from './support/graph-answers.ts'
import { givenMember, missing, targetFor } from './support/graph-member.ts'
import { ask, cast, eventual, refusal, select, walk, type Target } from './support/graph-requests.ts'

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

  test('refuse one request of a batch with any status', async () => {
    for (const status of [403, 404, 429, 500]) {
      simulator.faults.next({ on: { path: 'memberOf' }, status })
      const requests = ['/me', '/me/memberOf'].map((url, id) => ({ id: String(id), method: 'GET', url }))
      const { json } = await ask(target, '/$batch', { body: { requests } })
      const answers = new Map(batchAnswer.parse(json).responses.map((each) => [each.id, each.status]))
      expect(answers).toStrictEqual(
        new Map([
          ['1', status],
          ['0', 200],
        ]),
      )
    }
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

describe('answers that went wrong, by name', () => {
  const path = `${cast}?${select}&$top=999&$count=true`
  const first = () => ask(target, path, { headers: eventual })
  const counted = groupPage.extend({ '@odata.count': z.int() })
  const truth = () => simulator.tenant.groupsOf(target.objectId).length
  const body = () =>
    fetch(`${target.graphUrl}/v1.0/me`, { headers: { authorization: `Bearer ${target.token}` } })

  test('are next links to another host, to the same page, and too old', async () => {
    simulator.faults.next(faultsOf.foreignNextLink('https://evil.example/v1.0/me'))
    expect((await first()).json).toMatchObject({ '@odata.nextLink': 'https://evil.example/v1.0/me' })

    simulator.faults.next({ ...faultsOf.repeatedNextLink(), times: 2 })
    const repeated = groupPage.parse((await first()).json)
    const again = groupPage.parse(
      (await ask(target, repeated['@odata.nextLink'] ?? '', { headers: eventual })).json,
    )
    expect(again['@odata.nextLink']).toBe(repeated['@odata.nextLink'])
    expect(again.value).toStrictEqual(repeated.value)

    simulator.faults.next(faultsOf.expiredNextLink())
    const { '@odata.nextLink': next = '' } = groupPage.parse((await first()).json)
    expect(await refusal(target, next, { headers: eventual })).toMatchObject({
      status: 400,
      code: 'Directory_ExpiredPageToken',
    })
  })

  test('are a 200 that lacks members and whose count agrees', async () => {
    simulator.faults.next({ ...faultsOf.membersMissing(300), on: { page: 1 } })
    const [page, ...more] = await walk(target, path, groupPage)
    expect(counted.parse(page)['@odata.count']).toBe(truth() - 300)
    expect([page, ...more].flatMap((each) => each?.value ?? [])).toHaveLength(truth() - 300)

    simulator.faults.next(faultsOf.membersMissing())
    expect((await first()).json).toStrictEqual({
      '@odata.context': page?.['@odata.context'],
      '@odata.count': 0,
      value: [],
    })
  })

  test.each([undefined, '7'])('are a 503 that is a page, with Retry-After %s', async (retryAfter) => {
    simulator.faults.next(faultsOf.htmlUnavailable(retryAfter === undefined ? {} : { retryAfter }))
    const { status, headers, text } = await ask(target, '/me')
    expect([status, headers.get('content-type'), headers.get('retry-after')]).toStrictEqual([
      503,
      'text/html',
      retryAfter ?? null,
    ])
    expect(text).toMatch(/^<!DOCTYPE html>/)
  })

  test('are JSON that ends early in an answer that does not', async () => {
    const whole = await (await body()).text()
    simulator.faults.next(faultsOf.truncatedJson())
    const half = await (await body()).text()
    expect([whole.startsWith(half), half.length]).toStrictEqual([true, Math.floor(whole.length / 2)])
  })

  test('are a body cut off, one that stops, and one that does not end', async () => {
    simulator.faults.next(faultsOf.cutBody())
    await expect((await body()).text()).rejects.toThrow('terminated')

    simulator.faults.next(faultsOf.stalledBody())
    const reader = (await body()).body?.getReader()
    expect((await reader?.read())?.value?.length).toBeGreaterThan(0)
    const more = reader?.read()
    // Answers made after it arrive while nothing more of it does.
    expect(await Promise.race([more, ask(target, '/me').then(() => 'nothing')])).toBe('nothing')
    await reader?.cancel()

    simulator.faults.next(faultsOf.endless())
    let read = 0
    for await (const chunk of (await body()).body ?? []) {
      read += chunk.length
      if (read > 2_000_000) break
    }
    expect(read).toBeGreaterThan(2_000_000)
  })

  test('are a body a few bytes at a time, whole in the end', async () => {
    const whole = await (await body()).text()
    simulator.faults.next(faultsOf.drip(100, 1))
    let pieces = 0
    let text = ''
    for await (const chunk of (await body()).body ?? []) {
      pieces += 1
      text += Buffer.from(chunk).toString()
    }
    expect(text).toBe(whole)
    expect(pieces).toBeGreaterThan(1)
  })
})
