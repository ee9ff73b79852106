import { createHash } from 'node:crypto'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { registerSubscription, storeSubscription } from '../db/subscriptions.ts'
import { defaultRhythm } from '../src/subscription.ts'
import { createTestDatabase, type TestDatabase } from './support/database.ts'
import { deadDatabase, testGateway, testTenantId } from './support/gateway.ts'

const clientState = 'what only Graph and we know'
const path = '/v1/notifications/entra-id'
const down = deadDatabase()

let database: TestDatabase
beforeAll(async () => {
  database = await createTestDatabase()
})
afterAll(() => database.close())
beforeEach(async () => {
  const { db } = database
  await registerSubscription(db, { source: 'entra-id', tenantId: testTenantId, url: 'https://here.example' })
  const made = {
    subscriptionId: 'the-subscription',
    clientStateHash: createHash('sha256').update(clientState).digest('hex'),
    expiresAt: new Date(Date.now() + 86_400_000).toISOString(),
  }
  await storeSubscription(db, 'entra-id', made, defaultRhythm)
  await db.$client`update subscriptions set changed_at = null, asked_at = null`
})

const notification = {
  subscriptionId: 'the-subscription',
  subscriptionExpirationDateTime: '2030-01-01T00:00:00Z',
  tenantId: testTenantId,
  clientState,
  changeType: 'updated',
  resource: 'Groups/33333333-3333-4333-8333-333333333333',
  resourceData: {
    '@odata.type': '#Microsoft.Graph.Group',
    id: '33333333-3333-4333-8333-333333333333',
    'members@delta': [{ id: '44444444-4444-4444-8444-444444444444', '@removed': 'deleted' }],
  },
}

const gateway = () => testGateway({ db: database.db })
type App = ReturnType<typeof gateway>['app']

async function post(app: App, body: unknown, to = path): Promise<Response> {
  const headers = { 'Content-Type': 'application/json; charset=utf-8' }
  const text = typeof body === 'string' ? body : JSON.stringify(body)
  return await app.request(to, { method: 'POST', headers, body: text })
}

async function stored() {
  const [row] = await database.db.$client<{ changed: boolean; reauthorize: boolean; id: string | null }[]>`
    select changed_at is not null as changed, reauthorize, subscription_id as id from subscriptions`
  return row
}

const quiet = { changed: false, reauthorize: false, id: 'the-subscription' }

describe('the question whether the address is ours', () => {
  const ask = async (query: string, to = path) =>
    await gateway().app.request(`${to}?${query}`, {
      method: 'POST',
      headers: { 'Content-Type': 'text/plain; charset=utf-8' },
    })

  test.for([path, `${path}/lifecycle`])(
    'is answered at %s with the token, decoded, as plain text',
    async (to) => {
      const answer = await ask('validationToken=Validation%3A+Testing%20Request-Id%3A%2B1', to)
      expect([answer.status, await answer.text()]).toEqual([200, 'Validation: Testing Request-Id:+1'])
      expect(answer.headers.get('content-type')).toMatch(/^text\/plain/)
      expect(answer.headers.get('x-content-type-options')).toBe('nosniff')
    },
  )

  test('makes no page of a token', async () => {
    const answer = await ask(`validationToken=${encodeURIComponent(`<script>alert("1" & '2')</script>`)}`)
    expect(await answer.text()).not.toMatch(/[<>"']|&(?!#\d+;)/)
  })

  test('is refused where it is longer than any of Graph', async () => {
    expect((await ask(`validationToken=${'x'.repeat(3000)}`)).status).toBe(400)
  })
})

describe('a notification', () => {
  test('is noted, and is answered 202 without a body', async () => {
    const answer = await post(gateway().app, { value: [notification] })
    expect([answer.status, await answer.text()]).toEqual([202, ''])
    expect(await stored()).toEqual({ ...quiet, changed: true })
  })

  test.for<[string, object, string?]>([
    ['of another client state', { clientState: `${clientState}!` }],
    [
      'with the hash of the client state',
      { clientState: createHash('sha256').update(clientState).digest('hex') },
    ],
    ['without a client state', { clientState: null }],
    ['of another subscription', { subscriptionId: 'another' }],
    ['of another tenant', { tenantId: '55555555-5555-4555-8555-555555555555' }],
    ['to a source that has none', {}, '/v1/notifications/another'],
    ['to what is no name of a source', {}, '/v1/notifications/%00'],
    [
      'about the life of another subscription',
      { subscriptionId: 'another', lifecycleEvent: 'subscriptionRemoved' },
    ],
  ])('%s changes nothing, and is answered like any other', async ([, wrong, to]) => {
    const { app, logLines } = gateway()
    const right = await post(app, { value: [notification] })
    await database.db.$client`update subscriptions set changed_at = null`
    const answer = await post(app, { value: [{ ...notification, ...wrong }] }, to)
    const shown = ({ status, headers }: Response) => [status, [...headers]]
    expect(shown(answer)).toEqual(shown(right))
    expect(await stored()).toEqual(quiet)
    expect(logLines.filter((line) => line.includes('"ignored":1'))).toHaveLength(1)
    expect(logLines.join('')).not.toContain(clientState)
  })

  test('is believed beside others that are not, and beside what is none', async () => {
    const value = [{ ...notification, subscriptionId: 'another' }, 7, null, {}, [], notification]
    expect((await post(gateway().app, { value })).status).toBe(202)
    expect(await stored()).toEqual({ ...quiet, changed: true })
  })

  test.for(['', '{', '[]', '7', 'null', '{"value":{}}'])('that reads %s is refused', async (body) => {
    expect((await post(gateway().app, body)).status).toBe(400)
    expect(await stored()).toEqual(quiet)
  })

  test('of more than a mebibyte is refused, and of many in one request only so many are looked at', async () => {
    const { app } = gateway()
    const large = { value: [{ ...notification, resource: 'x'.repeat(1024 * 1024) }] }
    expect((await post(app, large)).status).toBe(413)
    const many = Array.from({ length: 20_000 }, () => 0)
    expect((await post(app, { value: [...many, notification] })).status).toBe(202)
    expect(await stored()).toEqual(quiet)
  })

  test('is taken by POST only', async () => {
    const answer = await gateway().app.request(path)
    expect([answer.status, answer.headers.get('allow')]).toEqual([405, 'POST'])
  })

  test('that can not be stored is to be sent again', async () => {
    const answer = await post(testGateway({ db: down }).app, { value: [notification] })
    expect([answer.status, answer.headers.get('retry-after')]).toEqual([503, '5'])
  })
})

describe('a flood', () => {
  const version = async () => await database.db.$client`select xmin::text from subscriptions`

  test('of the same is one write, until somebody has asked', async () => {
    const { app } = gateway()
    await post(app, { value: [notification] })
    const before = await version()
    for (let index = 0; index < 20; index += 1) await post(app, { value: [notification, notification] })
    expect(await version()).toEqual(before)
    await database.db.$client`update subscriptions set asked_at = clock_timestamp()`
    const asked = await version()
    await post(app, { value: [notification] })
    expect(await version()).not.toEqual(asked)
  })

  test('of what is not ours is one line in the log', async () => {
    const { app, logLines } = gateway()
    for (let index = 0; index < 50; index += 1)
      await post(app, { value: [{ ...notification, clientState: 'guessed' }] })
    expect(logLines.filter((line) => line.includes('"ignored"'))).toHaveLength(1)
  })

  test('at once is told to come again beyond a few', async () => {
    const { app } = gateway()
    const answers = await Promise.all(
      Array.from({ length: 40 }, async () => await post(app, { value: [notification] })),
    )
    const statuses = answers.map(({ status }) => status)
    expect(new Set(statuses)).toEqual(new Set([202, 503]))
    expect(statuses.filter((status) => status === 202).length).toBeLessThan(20)
    expect(await stored()).toEqual({ ...quiet, changed: true })
    expect((await post(app, { value: [notification] })).status).toBe(202)
  })
})

describe('an event in the life of the subscription', () => {
  const tell = async (lifecycleEvent: string, to = `${path}/lifecycle`) => {
    const { changeType: _, resource: __, resourceData: ___, ...shared } = notification
    expect((await post(gateway().app, { value: [{ ...shared, lifecycleEvent }] }, to)).status).toBe(202)
    return await stored()
  }

  test.for([path, `${path}/lifecycle`])('has it authorised anew, told at %s', async (to) => {
    expect(await tell('reauthorizationRequired', to)).toEqual({ ...quiet, reauthorize: true })
  })

  test('has one made anew where it is gone, and has changes asked about', async () => {
    expect(await tell('subscriptionRemoved')).toEqual({ changed: true, reauthorize: false, id: null })
  })

  test('has changes asked about where some were not told', async () => {
    expect(await tell('missed')).toEqual({ ...quiet, changed: true })
  })

  test('that nobody knows yet changes nothing', async () => {
    expect(await tell('somethingNew')).toEqual(quiet)
  })
})
