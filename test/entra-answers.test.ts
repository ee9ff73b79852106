import { randomUUID } from 'node:crypto'
import { Hono, type Context } from 'hono'
import { afterEach, expect, test } from 'vitest'
import { listen, type Listening } from '../src/gateway.ts'
import { createLog } from '../src/log.ts'
import { entraOf, testSource } from './support/gateway.ts'

let server: Listening | undefined

afterEach(async () => {
  await server?.close()
  server = undefined
})

type Answers = { discovery?: (c: Context) => Response; token?: (c: Context) => Response }

/** Redeems a refresh token at an authority that answers so; the error. */
async function renewalAt({ discovery, token }: Answers): Promise<unknown> {
  const tenantId = randomUUID()
  const app = new Hono()
  let origin = ''
  app.get('*', (c) => {
    if (discovery) return discovery(c)
    return c.json({
      issuer: `${origin}/${tenantId}/v2.0`,
      authorization_endpoint: `${origin}/authorize`,
      token_endpoint: `${origin}/token`,
      jwks_uri: `${origin}/keys`,
    })
  })
  app.post('/token', (c) => token?.(c) ?? c.notFound())
  server = await listen(app, { port: 0, host: '127.0.0.1', graceMs: 0 })
  origin = server.url
  const entra = entraOf({ ...testSource, tenant: { kind: 'single', id: tenantId }, authorityHost: origin })
  return await entra.renew(tenantId, 'refresh').then(
    () => undefined,
    (error: unknown) => error,
  )
}

const challenge = { 'WWW-Authenticate': 'Bearer realm="", error="x"', 'Retry-After': '60' }

test.for([
  [400, { error: 'invalid_grant', error_codes: [50173], suberror: 'bad_token' }, { code: 'token_rejected' }],
  [401, { error: 'invalid_client', error_codes: [7000215] }, { code: 'config_invalid' }],
  [
    429,
    { error: 'temporarily_unavailable', error_codes: [90055] },
    { code: 'throttled', retryAfterMs: 60_000 },
  ],
] as const)(
  'a refusal %i %j is understood also where WWW-Authenticate stands beside it',
  async ([status, body, error]) => {
    expect(await renewalAt({ token: (c) => c.json(body, status, challenge) })).toMatchObject(error)
  },
)

test.for([
  ['an unknown tenant', { error: 'invalid_tenant', error_codes: [90002] }, 400, 'config_invalid'],
  ['a pause', {}, 429, 'throttled'],
  ['a failure', {}, 500, 'graph_unavailable'],
] as const)('%s is understood where the endpoints are read as well', async ([, body, status, code]) => {
  expect(await renewalAt({ discovery: (c) => c.json(body, status) })).toMatchObject({ code })
})

test('an answer without end is given up', async () => {
  let sent = 0
  const endless = new ReadableStream({
    pull: (controller) => {
      sent += 65_536
      controller.enqueue(new Uint8Array(65_536).fill(97))
    },
  })
  const error = await renewalAt({
    token: (c) => c.body(endless, 200, { 'Content-Type': 'application/json' }),
  })
  expect(error).toMatchObject({ code: 'graph_unavailable' })
  expect(sent).toBeLessThan(32 * 1_048_576)
})

test.for(['{"token_type":"Bearer","access_token":opaqueSECRETtoken0123456789}', 'opaqueSECRETtok'])(
  'a broken answer is not quoted in the log: %s',
  async (body) => {
    const error = await renewalAt({ token: (c) => c.body(body, 200, { 'Content-Type': 'application/json' }) })
    const lines: string[] = []
    const cause = error instanceof Error ? error.cause : undefined
    const log = createLog('info', { write: (line) => void lines.push(line) })
    log.error({ err: error }, 'a')
    log.error({ err: cause }, 'b')
    expect(error).toMatchObject({ code: 'graph_unavailable' })
    expect(lines.join('')).not.toMatch(/opaque/)
  },
)
