import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { SyncError } from '../src/errors.ts'
import { createTestDatabase, type TestDatabase } from './support/database.ts'
import { testGateway, testSource } from './support/gateway.ts'

const keys = ['key-of-the-first-application', 'key-of-the-other-application']
const secret = 'eyJhbGciOiJSUzI1NiJ9.e30.c2ln'
const good = {
  tenantId: '11111111-1111-4111-8111-111111111111',
  objectId: '44444444-4444-4444-8444-444444444444',
  userPrincipalName: 'adele@contoso.example',
  tokens: { accessToken: secret, expiresAt: '2030-01-02T03:04:05Z', scopes: ['User.Read'] },
}

let database: TestDatabase

beforeAll(async () => {
  database = await createTestDatabase()
})
afterAll(() => database.close())

const json = { 'content-type': 'application/json', authorization: `Bearer ${keys[0]}` }

function setUp(parts: Partial<Parameters<typeof testGateway>[0]> = {}) {
  const gateway = testGateway({ db: database.db, apiKeys: keys, ...parts })
  const post = async (body: string | ReadableStream<Uint8Array>, headers: Record<string, string> = json) => {
    const request = new Request('http://localhost/v1/login-events', {
      method: 'POST',
      headers,
      body,
      duplex: 'half',
    })
    const answer = await gateway.app.request(request)
    const text = await answer.text()
    return { status: answer.status, headers: answer.headers, text, body: JSON.parse(text) as unknown }
  }
  return { ...gateway, post }
}

test('takes a login event and answers its id at once', async () => {
  const { post, logins } = setUp()
  const answer = await post(JSON.stringify(good))
  expect(answer).toMatchObject({ status: 202, body: { eventId: expect.stringMatching(/^[\da-f-]{36}$/) } })
  expect(Object.keys(answer.body as object)).toEqual(['eventId'])
  expect(logins).toMatchObject([{ user: { objectId: good.objectId }, options: { waitUpToMs: 0 } }])
})

test('hands over the source that takes the person’s tenant, and names the field where it cannot be known', async () => {
  const two = { ...testSource, slug: 'two' }
  const { post, logins } = setUp({ configs: [testSource, two] })
  const message = expect.stringMatching(/^is missing: .* and two take people/)
  const body = { problems: [{ field: 'source', message }] }
  expect(await post(JSON.stringify(good))).toMatchObject({ status: 400, body })
  expect((await post(JSON.stringify({ ...good, source: 'two' }))).status).toBe(202)
  expect(logins).toMatchObject([{ user: { source: 'two', objectId: good.objectId } }])
  const elsewhere = { ...good, tenantId: '99999999-1111-4111-8111-111111111111' }
  expect(await post(JSON.stringify(elsewhere))).toMatchObject({
    status: 400,
    body: { problems: [{ field: 'tenantId' }] },
  })
})

test('with waitUpToMs answers how the run ended, or that it is pending', async () => {
  const run = { eventId: 'e', outcome: 'applied', runId: 'r' }
  const { post } = setUp({
    loginSucceeded: async (_user, options) => ({ ...run, eventId: `${options?.waitUpToMs}` }),
  })
  expect(await post(JSON.stringify({ ...good, waitUpToMs: 1500 }))).toMatchObject({
    status: 200,
    body: { eventId: '1500', outcome: 'applied', runId: 'r' },
  })
  const pending = setUp()
  expect(await pending.post(JSON.stringify({ ...good, waitUpToMs: 1 }))).toMatchObject({
    status: 200,
    body: { outcome: 'pending' },
  })
})

describe('names each wrong field and repeats no value', () => {
  const { tenantId: _, ...noTenant } = good
  const tokens = good.tokens
  test.each<[string, unknown, string[]]>([
    ['no tenant', noTenant, ['tenantId']],
    ['an object id that is no GUID', { ...good, objectId: secret }, ['objectId']],
    ['no tokens', { ...good, tokens: undefined }, ['tokens']],
    ['an empty access token', { ...good, tokens: { ...tokens, accessToken: '' } }, ['tokens.accessToken']],
    [
      'a time without a zone',
      { ...good, tokens: { ...tokens, expiresAt: '2030-01-02T03:04:05' } },
      ['tokens.expiresAt'],
    ],
    ['scopes in one text', { ...good, tokens: { ...tokens, scopes: secret } }, ['tokens.scopes']],
    ['a scope that is a number', { ...good, tokens: { ...tokens, scopes: ['a', 1] } }, ['tokens.scopes[1]']],
    ['a name that is a list', { ...good, displayName: [secret] }, ['displayName']],
    ['a wait of a minute', { ...good, waitUpToMs: 60_000 }, ['waitUpToMs']],
    ['a wait in text', { ...good, waitUpToMs: '5' }, ['waitUpToMs']],
    [
      'unknown fields',
      { ...good, upn: 'x', tokens: { ...tokens, access_token: secret } },
      ['tokens.access_token', 'upn'],
    ],
    ['a token as the name of a field', { ...good, [secret]: 1 }, ['(unprintable name)']],
    [
      'several at once',
      { tokens: { ...tokens, accessToken: 5 }, waitUpToMs: -1 },
      ['objectId', 'tenantId', 'tokens.accessToken', 'waitUpToMs'],
    ],
    ['a list', [good], ['body']],
    ['null', null, ['body']],
    [
      'a prototype',
      JSON.parse(`{"__proto__":{},"tenantId":"${good.tenantId}"}`),
      ['__proto__', 'objectId', 'tokens'],
    ],
  ])('%s', async (_what, body, fields) => {
    const { post, logins } = setUp()
    const answer = await post(JSON.stringify(body))
    expect(answer).toMatchObject({ status: 400, body: { error: 'invalid_request' } })
    const { problems } = answer.body as { problems: { field: string; message: string }[] }
    expect(problems.map(({ field }) => field).toSorted()).toEqual(fields)
    for (const { message } of problems) expect(message).toMatch(/^(must|is) [^A-Z]/)
    expect(answer.text).not.toContain(secret)
    expect(logins).toEqual([])
  })

  test.each<[string, unknown, string, string]>([
    ['no tokens', { ...good, tokens: undefined }, 'tokens', 'is missing'],
    ['tokens that are text', { ...good, tokens: secret }, 'tokens', 'must be an object'],
    ['a name that is a number', { ...good, displayName: 7 }, 'displayName', 'must be text'],
    [
      'a name that is too long',
      { ...good, mail: 'x'.repeat(1025) },
      'mail',
      'must have at most 1024 characters',
    ],
    ['an id that is no GUID', { ...good, objectId: secret }, 'objectId', 'must be a GUID'],
    ['a wait that is text', { ...good, waitUpToMs: '5' }, 'waitUpToMs', 'must be a number'],
    ['half a millisecond', { ...good, waitUpToMs: 0.5 }, 'waitUpToMs', 'must be a whole number'],
    ['a wait of a minute', { ...good, waitUpToMs: 60_000 }, 'waitUpToMs', 'must be at most 30000'],
    ['a wait into the past', { ...good, waitUpToMs: -1 }, 'waitUpToMs', 'must be at least 0'],
    [
      'scopes in one text',
      { ...good, tokens: { ...tokens, scopes: secret } },
      'tokens.scopes',
      'must be a list',
    ],
    [
      'too many scopes',
      { ...good, tokens: { ...tokens, scopes: Array(257).fill('a') } },
      'tokens.scopes',
      'must have at most 256 entries',
    ],
    [
      'an empty token',
      { ...good, tokens: { ...tokens, accessToken: '' } },
      'tokens.accessToken',
      'must not be empty',
    ],
    [
      'a time in words',
      { ...good, tokens: { ...tokens, expiresAt: 'soon' } },
      'tokens.expiresAt',
      'must be a time in ISO 8601 with an offset, such as 2030-01-01T12:00:00Z',
    ],
    [
      'a time that is neither',
      { ...good, tokens: { ...tokens, expiresAt: true } },
      'tokens.expiresAt',
      'must be text, or: must be a number',
    ],
    [
      'milliseconds',
      { ...good, tokens: { ...tokens, expiresAt: 1_900_000_000_000 } },
      'tokens.expiresAt',
      'must be in seconds',
    ],
  ])('%s, in plain words', async (_what, body, field, message) => {
    const answer = await setUp().post(JSON.stringify(body))
    expect(answer).toMatchObject({ status: 400, body: { problems: [{ field, message }] } })
  })

  test.each([' ', 'a b', 'a\n', 'a\u0000', 'a\u007f', 'tökén', '令牌'])(
    'a token that no header can carry: %j',
    async (token) => {
      const { post, logins } = setUp()
      const wrong = { ...good.tokens, accessToken: token, refreshToken: token }
      const answer = await post(JSON.stringify({ ...good, tokens: wrong }))
      const message = 'must be ASCII without spaces and control characters'
      expect([answer.status, answer.body]).toEqual([
        400,
        {
          error: 'invalid_request',
          problems: ['tokens.accessToken', 'tokens.refreshToken'].map((field) => ({ field, message })),
        },
      ])
      expect(logins).toEqual([])
    },
  )

  test('malformed JSON', async () => {
    const answer = await setUp().post(`{"tokens":{"accessToken":"${secret}"`)
    expect(answer).toMatchObject({
      status: 400,
      body: { error: 'invalid_request', problems: [{ field: 'body', message: 'is not valid JSON' }] },
    })
    expect(answer.text).not.toContain(secret)
  })
})

describe('lets in who has a key, and nobody else', () => {
  test.each(keys)('%s', async (key) => {
    expect(
      (await setUp().post(JSON.stringify(good), { ...json, authorization: `bearer ${key}` })).status,
    ).toBe(202)
  })

  test.each([
    ['no key', {}],
    ['a wrong key', { authorization: 'Bearer key-of-the-first-applicatioN' }],
    ['half a key', { authorization: 'Bearer key-of-the' }],
    ['both keys in one', { authorization: `Bearer ${keys.join(',')}` }],
    ['another scheme', { authorization: `Basic ${keys[0]}` }],
    ['an empty key', { authorization: 'Bearer ' }],
  ])('%s is 401', async (_what, headers) => {
    const { post, logins } = setUp()
    const answer = await post('not even JSON', { 'content-type': 'text/plain', ...headers })
    expect(answer).toMatchObject({ status: 401, body: { error: 'unauthorized' } })
    expect(answer.headers.get('www-authenticate')).toMatch(/^Bearer realm=/)
    expect(logins).toEqual([])
  })

  test('nobody, where no keys are configured', async () => {
    const { post } = setUp({ apiKeys: [] })
    for (const authorization of [`Bearer ${keys[0]}`, 'Bearer ', 'Bearer undefined']) {
      expect((await post(JSON.stringify(good), { ...json, authorization })).status).toBe(401)
    }
  })
})

describe('refuses', () => {
  const big = JSON.stringify({ ...good, displayName: 'x'.repeat(70_000) })

  test('a body over 64 KiB, whether its length is told or it comes in chunks', async () => {
    const { post } = setUp()
    const told = await post(big, { ...json, 'content-length': `${big.length}` })
    expect(told).toMatchObject({ status: 413, body: { error: 'too_large' } })
    const chunks = new ReadableStream<Uint8Array>({
      start(controller) {
        for (let at = 0; at < big.length; at += 8192)
          controller.enqueue(new TextEncoder().encode(big.slice(at, at + 8192)))
        controller.close()
      },
    })
    expect(await post(chunks)).toMatchObject({ status: 413, body: { error: 'too_large' } })
  })

  test('what is not JSON by its type', async () => {
    for (const type of ['text/plain', 'application/x-www-form-urlencoded', 'application/jsonp', '']) {
      expect((await setUp().post(JSON.stringify(good), { ...json, 'content-type': type })).status).toBe(415)
    }
    expect(
      (
        await setUp().post(JSON.stringify(good), {
          ...json,
          'content-type': 'application/json; charset=utf-8',
        })
      ).status,
    ).toBe(202)
  })

  test('other methods and addresses, in JSON', async () => {
    const { app } = setUp()
    const answer = await app.request('/v1/login-events', { headers: json })
    expect([answer.status, answer.headers.get('allow')]).toEqual([405, 'POST'])
    expect(await (await app.request('/v1/other', { headers: json })).json()).toEqual({ error: 'not_found' })
  })
})

test('says when to come back while Postgres is down, and shows nothing of any other failure', async () => {
  const failures = [
    Object.assign(new Error(`write CONNECTION_CLOSED ${secret}`), { code: 'CONNECTION_CLOSED' }),
    new SyncError('database_failed', 'the database failed'),
    new Error('failed query', { cause: Object.assign(new Error('x'), { code: '57P01' }) }),
    new Error(`unexpected ${secret}`),
  ]
  const answers = failures.map(async (failure) => {
    const { post, logLines } = setUp({ loginSucceeded: () => Promise.reject(failure) })
    const { status, headers, text } = await post(JSON.stringify(good))
    expect(text + logLines.join()).not.toContain(secret)
    return [status, headers.get('retry-after')]
  })
  expect(await Promise.all(answers)).toEqual([
    [503, '5'],
    [503, '5'],
    [503, '5'],
    [500, null],
  ])
})
