import fc from 'fast-check'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { defaultApp, defaultClientId, startSimulator, type Simulator } from '../src/simulator/index.ts'
import { createBucket } from '../src/simulator/graph-api/bucket.ts'
import { batchAnswer, errorBody } from './support/graph-answers.ts'
import { targetFor } from './support/graph-member.ts'
import { ask, type Target } from './support/graph-requests.ts'
import { otherApp, someone } from './support/entra-requests.ts'

let simulator: Simulator
let target: Target
let now = Date.parse('2026-11-24T10:00:00Z')

const low = { 'x-ms-throttle-priority': 'low' }
const statuses = async (count: number, headers: Record<string, string> = {}) => {
  const found: number[] = []
  for (let asked = 0; asked < count; asked++) found.push((await ask(target, '/me', { headers })).status)
  return found
}

beforeAll(async () => {
  simulator = await startSimulator({
    users: 5,
    apps: [defaultApp, otherApp],
    https: false,
    now: () => now,
    throttle: { size: 10 },
  })
  target = await targetFor(simulator, someone(simulator))
})
afterEach(() => {
  simulator.throttle.set({ size: 10, timeScale: 1, retryAfter: 'seconds', batchEnvelope: 200 })
  simulator.throttle.reset()
})
afterAll(() => simulator.close())

describe('the limit of an app in a tenant', () => {
  test('refuses only the excess, and gives units back at its pace', async () => {
    expect(await statuses(12)).toStrictEqual([...Array.from({ length: 10 }, () => 200), 429, 429])
    now += 3000
    expect(await statuses(4)).toStrictEqual([200, 200, 200, 429])
  })

  test('is what a tenant of that size has', async () => {
    for (const [size, units] of [
      ['S', 3500],
      ['M', 5000],
      ['L', 8000],
    ] as const) {
      simulator.throttle.set({ size })
      simulator.throttle.reset()
      simulator.throttle.drain()
      expect(await statuses(1)).toStrictEqual([429])
      now += 10_000
      expect(await statuses(1)).toStrictEqual([200])
      expect(simulator.throttle.statistics()).toMatchObject({ available: units })
    }
  })

  test('counts what a request costs, not requests', async () => {
    await ask(target, '/me/memberOf')
    await ask(target, '/me/memberOf?$select=id')
    await ask(target, '/me/checkMemberGroups', { body: { groupIds: [] } })
    expect(simulator.throttle.statistics()).toStrictEqual({
      answers: 3,
      throttled: 0,
      units: 2 + 1 + 4,
      available: 0,
    })
  })

  test('is one for each app', async () => {
    expect(await statuses(11)).toContain(429)
    const { id } = someone(simulator)
    const { access_token: token } = await simulator.signIn(id, { clientId: otherApp.clientId })
    expect((await ask({ ...target, token }, '/me')).status).toBe(200)
  })

  test('is reached by low priority while normal and high still have a tenth of it', async () => {
    simulator.throttle.drain(2)
    expect(await statuses(2, low)).toStrictEqual([200, 429])
    expect(await statuses(2, { 'x-ms-throttle-priority': 'high' })).toStrictEqual([200, 429])
  })

  test('refuses nobody while it is unlimited', async () => {
    simulator.throttle.set({ size: 'unlimited' })
    simulator.throttle.drain()
    expect(new Set(await statuses(12))).toStrictEqual(new Set([200]))
  })

  test('runs as many times faster as the scale says, waits included', async () => {
    simulator.throttle.set({ timeScale: 10 })
    simulator.throttle.drain()
    const { status, headers } = await ask(target, '/me')
    expect([status, headers.get('retry-after')]).toStrictEqual([429, '0.1'])
    now += 99
    expect(await statuses(1)).toStrictEqual([429])
    now += 1
    expect(await statuses(2)).toStrictEqual([200, 429])
  })

  test('can be accounted for: answers, refusals, units used and units there were', async () => {
    await statuses(12)
    now += 20_000
    await statuses(5)
    expect(simulator.throttle.statistics()).toStrictEqual({
      answers: 17,
      throttled: 2,
      units: 15,
      available: 20,
    })
    simulator.throttle.reset()
    expect(simulator.throttle.statistics()).toMatchObject({ answers: 0, available: 0 })
  })
})

describe('what answers tell of the limit', () => {
  test('is nothing below eight tenths of it, then the part in use', async () => {
    const told: (string | null)[] = []
    for (let asked = 0; asked < 10; asked++)
      told.push((await ask(target, '/me')).headers.get('x-ms-throttle-limit-percentage'))
    expect(told).toStrictEqual([...Array.from({ length: 7 }, () => null), '0.8', '0.9', '1'])
  })

  test('is above one by the part that is refused, and never above 1.8', async () => {
    const told = async () => (await ask(target, '/me')).headers.get('x-ms-throttle-limit-percentage')
    await statuses(11)
    // 3 of 12 were refused when the next answer is made.
    await statuses(1)
    expect(await told()).toBe(String(Number((1 + 3 / 13).toFixed(3))))
    await statuses(80)
    expect(await told()).toBe('1.8')
  })

  test('is on a refusal all that Graph documents', async () => {
    simulator.throttle.drain()
    const { status, headers, json } = await ask(target, '/me/memberOf')
    expect(status).toBe(429)
    expect(Object.fromEntries(headers)).toMatchObject({
      'retry-after': '2',
      'x-ms-resource-unit': '2',
      'x-ms-throttle-limit-percentage': '1.8',
      'x-ms-throttle-scope': `Tenant_Application/ReadWrite/${defaultClientId}/${simulator.tenant.id}`,
      'x-ms-throttle-information': 'ResourceUnitLimitExceeded',
    })
    expect(errorBody.parse(json).error).toMatchObject({
      code: 'TooManyRequests',
      message: 'Please retry again later.',
      innerError: { code: '429', message: 'Please retry after', status: '429' },
    })
  })

  test.each([
    ['seconds', '3'],
    ['fraction', '2.500'],
    ['date', 'Tue, 24 Nov 2026 10:30:03 GMT'],
    ['one', '1'],
    ['absent', null],
  ] as const)('is when to come again as %s', async (style, expected) => {
    now = Date.parse('2026-11-24T10:30:00Z')
    simulator.throttle.set({ size: 16, retryAfter: style })
    simulator.throttle.drain()
    const body = { groupIds: [] }
    expect((await ask(target, '/me/checkMemberGroups', { body })).headers.get('retry-after')).toBe(expected)
  })
})

describe('a batch under the limit', () => {
  const batch = async () => {
    const requests = ['/me', '/me/memberOf', '/me'].map((url, id) => ({ id: String(id), method: 'GET', url }))
    const { status, headers, json } = await ask(target, '/$batch', { body: { requests } })
    const answers = batchAnswer.parse(json).responses.toSorted((a, b) => a.id.localeCompare(b.id))
    return { status, headers, answers }
  }

  test('has each inner request charged and refused on its own', async () => {
    simulator.throttle.drain(2)
    const { status, answers } = await batch()
    expect([status, ...answers.map((each) => each.status)]).toStrictEqual([200, 200, 429, 200])
    expect(answers[1]?.headers).toMatchObject({
      'retry-after': '1',
      'x-ms-resource-unit': '2',
      'x-ms-throttle-information': 'ResourceUnitLimitExceeded',
    })
    expect(simulator.throttle.statistics()).toMatchObject({ answers: 3, throttled: 1, units: 2 })
  })

  test('fails as a whole where it is told to, as older documents have it', async () => {
    simulator.throttle.set({ batchEnvelope: 424 })
    expect((await batch()).status).toBe(200)
    simulator.throttle.drain()
    const { status, answers } = await batch()
    expect([status, ...answers.map((each) => each.status)]).toStrictEqual([424, 429, 429, 429])
  })
})

test('a bucket lets through what fits and no more, and a wait it tells is enough', () => {
  const request = fc.record({
    wait: fc.double({ min: 0, max: 5, noNaN: true }),
    units: fc.integer({ min: 1, max: 5 }),
  })
  fc.assert(
    fc.property(fc.integer({ min: 5, max: 50 }), fc.array(request, { maxLength: 200 }), (limit, requests) => {
      const bucket = createBucket(limit)
      let at = 0
      let taken = 0
      for (const { wait, units } of requests) {
        at += wait
        const first = bucket.take(units, 1, at)
        if (!first.taken) at += first.seconds
        const admitted = first.taken || bucket.take(units, 1, at).taken
        taken += units
        expect([admitted, taken <= limit + (at / 10) * limit + 0.01]).toStrictEqual([true, true])
      }
    }),
  )
})
