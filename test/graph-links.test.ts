import { inspect } from 'node:util'
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { createGraphClient } from '../src/graph/client.ts'
import { createLog } from '../src/log.ts'
import { retryAfterMs } from '../src/retry-after.ts'
import { nextPath } from '../src/graph/group-pages.ts'
import { readMemberships } from '../src/graph/memberships.ts'

test.for([
  'https://graph.microsoft.com.evil.example/v1.0/me',
  'https://evil.example/v1.0/me',
  'http://graph.microsoft.com/v1.0/me',
  'https://graph.microsoft.com:8443/v1.0/me',
  'https://user@graph.microsoft.com/v1.0/me',
  'https://graph.microsoft.com/beta/me',
  '//evil.example/v1.0/me',
  '/v1.0/me',
  '',
])('the next link %j is refused', (link) => {
  expect(() => nextPath('https://graph.microsoft.com', link)).toThrow(
    expect.objectContaining({ code: 'unexpected_response' }),
  )
})

test('the next link of the configured Graph is followed below its version', () => {
  expect(
    nextPath('https://graph.microsoft.com', 'https://graph.microsoft.com/v1.0/me/memberOf?$skiptoken=a%2Bb'),
  ).toBe('/me/memberOf?$skiptoken=a%2Bb')
})

const seconds = fc.oneof(fc.nat({ max: 1e9 }).map(String), fc.stringMatching(/^\d{1,400}(\.\d{1,9})?$/))
const dates = fc.date({ noInvalidDate: true }).map((date) => date.toUTCString())

test('Retry-After is read as seconds, fractions and dates, within our own floor and cap', () => {
  const now = Date.parse('2026-01-01T00:00:00Z')
  expect(retryAfterMs('10', now)).toBe(10_000)
  expect(retryAfterMs('2.128', now)).toBe(2128)
  expect(retryAfterMs('Thu, 01 Jan 2026 00:00:30 GMT', now)).toBe(30_000)
  expect(retryAfterMs(null, now)).toBe(10_000)
  expect(retryAfterMs('soon', now)).toBe(10_000)
  fc.assert(
    fc.property(fc.oneof(fc.string(), seconds, dates), (text) => {
      const ms = retryAfterMs(text, now)
      return ms >= 1000 && ms <= 3_600_000
    }),
  )
  for (const long of ['3601', '99999999999', '9'.repeat(400), 'Fri, 01 Jan 2027 00:00:00 GMT'])
    expect(retryAfterMs(long, now)).toBe(3_600_000)
  for (const short of ['0', '0.5', 'Wed, 31 Dec 2025 00:00:00 GMT'])
    expect(retryAfterMs(short, now)).toBe(1000)
})

test('a request that would leave Graph is not sent, however its path came to be', async () => {
  let sent = 0
  const client = createGraphClient({
    baseUrl: 'http://127.0.0.1:9',
    accessToken: 'secret',
    fetch: async () => {
      sent += 1
      return Response.json({ value: [] })
    },
  })
  for (const path of ['/https://evil.example/v1.0/me', '/me?$skiptoken=https://evil.example/v1.0/x']) {
    await expect(client.request({ path })).rejects.toMatchObject({ code: 'unexpected_response' })
  }
  expect(sent).toBe(0)
})

test('a token that no header can carry is refused without being quoted', () => {
  const open = () => createGraphClient({ baseUrl: 'http://127.0.0.1:9', accessToken: 'eyJ\nsecret' })
  expect(open).toThrow(expect.objectContaining({ code: 'unexpected_response' }))
  expect(open).not.toThrow(/secret/)
})

test.for([
  ['a network error', new TypeError('fetch failed', { cause: new Error('Bearer eyJ-secret is no header') })],
  ['an address that cannot be', new TypeError('Failed to parse URL from http://x/?t=eyJ-secret')],
  [
    'an error with a code',
    Object.assign(new Error('eyJ-secret'), { code: 'ECONNRESET', cause: 'eyJ-secret' }),
  ],
  ['no error at all', 'eyJ-secret'],
] as const)('%s that quotes the token is told without it', async ([, failure]) => {
  const fail = async () => await Promise.reject(failure)
  const client = createGraphClient({ baseUrl: 'http://127.0.0.1:9', accessToken: 'eyJ-secret', fetch: fail })
  const error: unknown = await client.request({ path: '/me' }).catch((thrown: unknown) => thrown)
  expect(error).toMatchObject({ code: 'graph_unavailable' })
  expect(inspect(error, { depth: null, showHidden: true })).not.toContain('eyJ-secret')
  const logged: string[] = []
  createLog('info', { write: (line) => void logged.push(line) }).error({ err: error }, 'failed')
  expect(logged.join()).toContain('graph')
  expect(logged.join()).not.toContain('eyJ-secret')
})

test('a network error is told by its code', async () => {
  const failure = new TypeError('fetch failed', {
    cause: Object.assign(new Error('x'), { code: 'ECONNRESET' }),
  })
  const client = createGraphClient({
    baseUrl: 'http://127.0.0.1:9',
    accessToken: 'secret',
    fetch: async () => await Promise.reject(failure),
  })
  await expect(client.request({ path: '/me' })).rejects.toMatchObject({
    cause: { cause: { code: 'ECONNRESET', message: 'Error ECONNRESET' } },
  })
})

test('a Graph that pages for ever is left after a thousand pages, though each link is another', async () => {
  let pages = 0
  const client = createGraphClient({
    baseUrl: 'http://127.0.0.1:9',
    accessToken: 'secret',
    fetch: async () => {
      // Far beyond the bound, so that a walk without one ends here and not never.
      if ((pages += 1) > 1100) return new Response(null, { status: 500 })
      const next = `http://127.0.0.1:9/v1.0/me/transitiveMemberOf?$skiptoken=${pages}`
      const page = { value: [], '@odata.count': 1, '@odata.nextLink': next }
      const responses = [
        { id: 'me', status: 200, body: { id: 'ada' } },
        { id: 'groups', status: 200, body: page },
      ]
      return Response.json(pages === 1 ? { responses } : page)
    },
  })
  const options = { objectId: 'ada', read: 'transitive', beganAt: '2026-01-01T00:00:00Z' } as const
  await expect(readMemberships(client, options)).rejects.toMatchObject({ code: 'unexpected_response' })
  expect(pages).toBe(1001)
})

test('pages that take too long together are given up', async () => {
  const group = { id: 'a' }
  const answers = [
    {
      responses: [
        { id: 'me', status: 200, body: { id: 'ada' } },
        { id: 'groups', status: 200, body: page(1) },
      ],
    },
    page(2),
  ]
  function page(number: number) {
    return { value: [group], '@odata.count': 3, '@odata.nextLink': `http://127.0.0.1:9/v1.0/page/${number}` }
  }
  const client = createGraphClient({
    baseUrl: 'http://127.0.0.1:9',
    accessToken: 'secret',
    fetch: async () => Response.json(answers.shift()),
  })
  const options = { objectId: 'ada', read: 'transitive', beganAt: '2026-01-01T00:00:00Z' } as const
  await expect(readMemberships(client, { ...options, withinMs: 0 })).rejects.toMatchObject({
    code: 'graph_unavailable',
  })
  expect(answers).toHaveLength(1)
})
