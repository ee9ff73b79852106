import { execFile } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { promisify } from 'node:util'
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest'
import { findTokenState } from '../db/token-states.ts'
import { createAppCredentials } from '../src/login/credentials.ts'
import { createExchangedTokens } from '../src/login/exchanged-tokens.ts'
import { createExchange } from '../src/login/on-behalf-of.ts'
import { createUserTokens } from '../src/login/tokens.ts'
import { createVault } from '../src/login/vault.ts'
import { syncUser } from '../src/sync.ts'
import { testSource } from './support/gateway.ts'
import { startOboEntra, type OboEntra } from './support/obo-entra.ts'
import { givenWorld } from './support/people.ts'
import { partsWith, type World } from './support/world.ts'

const people = givenWorld()
let entra: OboEntra
let world: World
let person: string
let tokens: ReturnType<typeof createUserTokens>
const tenantId = randomUUID()
const claims = '{"access_token":{"acrs":{"essential":true,"value":"c1"}}}'

beforeAll(async () => {
  entra = await startOboEntra(tenantId)
})
afterAll(() => entra.close())

beforeEach(async () => {
  world = await people.open({ backend: 'postgres', seed: { tenantId } })
  entra.forms.length = 0
  person = people.personIn(2)
  const source = { ...world.config.sources[0]!, authorityHost: entra.origin }
  const credentials = createAppCredentials(source, { onChange: () => undefined })
  tokens = createUserTokens({
    db: world.db,
    vault: createVault(world.config.tokenKeys),
    renew: () => Promise.reject(new Error('a token of audience api is not renewed')),
    exchanged: createExchangedTokens(createExchange(source, credentials)),
  })
})

/** A sign-in with a token of the application's own API, which nobody but Entra can read. */
async function signIn(assertion: string, livesSeconds = 3600): Promise<string> {
  await world.context.loginSucceeded({
    tenantId,
    objectId: person,
    tokens: {
      accessToken: assertion,
      expiresAt: Math.floor(Date.now() / 1000) + livesSeconds,
      scopes: ['access_as_user'],
      audience: 'api',
    },
  })
  const [user] = await world.db.$client<{ id: string }[]>`select id from users where object_id = ${person}`
  return user!.id
}

const run = async (userId: string) =>
  await syncUser(partsWith(world, { tokens }), { userId, tenantId, source: 'entra-id', cause: 'manual' })

async function giveTokensOf(objectId: string, lifetime = 3600) {
  const graphTokens = await world.simulator.signIn(objectId)
  entra.next(() =>
    Response.json({
      token_type: 'Bearer',
      scope: `${world.config.sources[0]!.graphBaseUrl}/.default`,
      expires_in: lifetime,
      access_token: graphTokens.access_token,
    }),
  )
}

const refuse = (status: number, body: object, headers: Record<string, string> = {}) =>
  entra.next(() => Response.json(body, { status, headers }))

test("a token of the application's own API is exchanged for the person's Graph token, once for its life", async () => {
  await giveTokensOf(person)
  const userId = await signIn('assertion-1')
  expect(await run(userId)).toMatchObject({ outcome: 'applied' })
  expect(await people.storedGroups(person)).toEqual(people.remoteGroups(person))
  expect(entra.forms).toHaveLength(1)
  expect(entra.forms[0]).toMatchObject({
    grant_type: 'urn:ietf:params:oauth:grant-type:jwt-bearer',
    requested_token_use: 'on_behalf_of',
    assertion: 'assertion-1',
    client_id: world.config.sources[0]!.clientId,
    scope: expect.stringContaining(`${world.config.sources[0]!.graphBaseUrl}/.default`),
  })
  expect(JSON.parse(entra.forms[0]?.['claims'] ?? '')).toMatchObject({
    access_token: { xms_cc: { values: [expect.stringMatching(/^cp1$/i)] } },
  })
  await world.db.$client`update delegated_tokens set expires_at = now()`
  expect(await run(userId)).toMatchObject({ outcome: 'unchanged' })
  expect(entra.forms).toHaveLength(1)
  await signIn('assertion-2')
  expect(await run(userId)).toMatchObject({ outcome: 'unchanged' })
  expect(entra.forms).toHaveLength(2)
})

test('a Graph token of somebody else is not applied', async () => {
  const other = world.simulator.tenant.addUser({ displayName: 'Eve' })
  await giveTokensOf(other.id)
  const userId = await signIn('assertion')
  await expect(run(userId)).rejects.toMatchObject({ code: 'wrong_user' })
  expect(await people.storedGroups(person)).toEqual([])
})

test('a spent assertion needs a sign-in, and Entra is not asked', async () => {
  const userId = await signIn('assertion', -1)
  expect(await run(userId)).toMatchObject({ outcome: 'needs_login', error: { reason: 'assertion_expired' } })
  expect(await findTokenState(world.db, userId, 'entra-id', ['test'])).toEqual({
    state: 'needs_login',
    reason: 'assertion_expired',
  })
  expect(entra.forms).toHaveLength(0)
})

test('a claims challenge is exchanged anew with the claims', async () => {
  await giveTokensOf(person)
  const userId = await signIn('assertion')
  world.simulator.faults.next({
    on: { path: /\$batch$/ },
    status: 401,
    headers: {
      'WWW-Authenticate': `Bearer error="insufficient_claims", claims="${Buffer.from(claims).toString('base64')}"`,
    },
  })
  expect(await run(userId)).toMatchObject({ outcome: 'applied' })
  expect(entra.forms).toHaveLength(2)
  expect(JSON.parse(entra.forms[1]?.['claims'] ?? '')).toMatchObject(JSON.parse(claims) as object)
})

test.for([
  [400, { error: 'invalid_grant', error_codes: [65001], suberror: 'consent_required' }, 'AADSTS65001'],
  [
    400,
    { error: 'interaction_required', error_codes: [50076], suberror: 'basic_action', claims },
    'AADSTS50076',
  ],
  [400, { error: 'invalid_grant', error_codes: [500133] }, 'AADSTS500133'],
] as const)(
  'an exchange that Entra answers %i %j needs a sign-in and is not asked for again',
  async ([status, body, reason]) => {
    refuse(status, body)
    const userId = await signIn('assertion')
    expect(await run(userId)).toMatchObject({ outcome: 'needs_login', error: { reason } })
    expect(await run(userId)).toMatchObject({ outcome: 'needs_login', error: { reason } })
    expect(entra.forms).toHaveLength(1)
  },
)

test('an exchange for a person whom a policy keeps out is denied', async () => {
  refuse(400, { error: 'invalid_grant', error_codes: [53003], suberror: 'message_only' })
  expect(await run(await signIn('assertion'))).toMatchObject({
    outcome: 'denied',
    error: { code: 'sign_in_denied', reason: 'AADSTS53003' },
  })
})

test.for([
  [429, { 'Retry-After': '9' }, { code: 'throttled' }],
  [503, {}, { code: 'graph_unavailable' }],
  [401, {}, { code: 'config_invalid' }],
] as const)(
  'an exchange that Entra answers %i is asked for once, and ends as a renewal would',
  async ([status, headers, end]) => {
    refuse(status, { error: status === 401 ? 'invalid_client' : 'temporarily_unavailable' }, { ...headers })
    const userId = await signIn('assertion')
    await expect(run(userId)).rejects.toMatchObject(end)
    expect(entra.forms).toHaveLength(1)
    await giveTokensOf(person)
    // The pause of a throttled tenant is over.
    await world.db.$client`truncate tenant_budgets`
    expect(await run(userId)).toMatchObject({ outcome: 'applied' })
  },
)

test('over http the exchange is refused as a matter of the configuration, before anything is sent', async () => {
  const credentials = createAppCredentials(testSource, { onChange: () => undefined })
  await expect(createExchange(testSource, credentials)('assertion', { tenantId })).rejects.toMatchObject({
    code: 'config_invalid',
    message: expect.stringContaining('ENTRA_AUTHORITY_HOST'),
  })
})

test('no more Graph tokens are kept than there is room for, and none that is about to end', async () => {
  let exchanges = 0
  const kept = createExchangedTokens(async () => {
    exchanges += 1
    return { accessToken: `graph ${exchanges}`, expiresAt: Date.now() + (exchanges === 4 ? 1000 : 3_600_000) }
  }, 2)
  const give = async (assertion: string) => await kept.for(assertion, { tenantId, livesMs: 1000 })
  expect([await give('a'), await give('b'), await give('a')]).toEqual(['graph 1', 'graph 2', 'graph 1'])
  await give('c')
  expect(await give('a')).toBe('graph 4')
  expect(await give('a')).toBe('graph 5')
})

test('a refresh token beside a token of the own API is refused, since it belongs to another app', async () => {
  const event = await people.signedIn(person)
  const mixed = { ...event, tokens: { ...event.tokens, audience: 'api' as const } }
  await expect(world.context.loginSucceeded(mixed)).rejects.toMatchObject({
    code: 'invalid_login_event',
    message: expect.stringContaining('tokens.refreshToken'),
  })
})

test('@azure/identity is loaded by nobody who does not exchange', { timeout: 60_000 }, async () => {
  const loads = async (...modules: string[]) => {
    const code = `import { registerHooks } from 'node:module'
      const told = (name) => name.startsWith('@azure/identity') && process.stdout.write(name)
      registerHooks({ resolve: (name, context, next) => (told(name), next(name, context)) })
      for (const module of ${JSON.stringify(modules)}) await import(module)`
    const { stdout } = await promisify(execFile)(process.execPath, ['--input-type=module', '-e', code])
    return stdout
  }
  expect(await loads('./src/context.ts', './src/index.ts')).toBe('')
  expect(await loads('@azure/identity')).toBe('@azure/identity')
})

test('the assertion and the secret go to the configured authority only, whatever its metadata says', async () => {
  const foreign = await startOboEntra(tenantId)
  try {
    entra.tokensAt(foreign.origin)
    const exchange = createExchange(
      { ...world.source.config, authorityHost: entra.origin },
      world.source.credentials,
    )
    await expect(exchange('the assertion', { tenantId })).rejects.toMatchObject({
      code: 'unexpected_response',
    })
    expect(foreign.forms).toEqual([])
  } finally {
    entra.tokensAt(entra.origin)
    await foreign.close()
  }
})

test('an answer without end is given up', async () => {
  entra.next(() => {
    const pull = (controller: ReadableStreamDefaultController) =>
      controller.enqueue(new Uint8Array(65_536).fill(97))
    return new Response(new ReadableStream({ pull }), { headers: { 'Content-Type': 'application/json' } })
  })
  const exchange = createExchange(
    { ...world.source.config, authorityHost: entra.origin },
    world.source.credentials,
  )
  await expect(exchange('the assertion', { tenantId })).rejects.toMatchObject({ code: 'graph_unavailable' })
})
