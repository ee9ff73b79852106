import { randomBytes, randomUUID } from 'node:crypto'
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'vitest'
import { findTokens, withRefreshLock } from '../db/delegated-tokens.ts'
import { insertLoginEvent } from '../db/login-events.ts'
import { tokenBinding } from '../src/login/login-succeeded.ts'
import { createExchangedTokens } from '../src/login/exchanged-tokens.ts'
import { createUserTokens, type RenewedTokenSet, type TokenOwner } from '../src/login/tokens.ts'
import { rotateKeys } from '../src/login/rotate-keys.ts'
import { SyncError, TokenRejected } from '../src/errors.ts'
import { createVault } from '../src/login/vault.ts'
import {
  defaultClientId,
  defaultClientSecret,
  startSimulator,
  type Simulator,
} from '../src/simulator/index.ts'
import { createTestDatabase, type TestDatabase } from './support/database.ts'
import { entraOf, testSource } from './support/gateway.ts'

let database: TestDatabase
let owner: TokenOwner
const keys = [{ id: 'k1', key: new Uint8Array(randomBytes(32)) }]
const vault = createVault(keys)

beforeAll(async () => {
  database = await createTestDatabase()
})
beforeEach(() => {
  owner = { userId: '', tenantId: randomUUID(), objectId: randomUUID(), source: 'entra-id' }
})
afterAll(() => database.close())

/** As a sign-in stores them; `livesSeconds` from now. Resolves with their version. */
async function store(
  livesSeconds: number,
  refreshToken: string | undefined = 'refresh-1',
  accessToken = 'access-1',
  audience: 'graph' | 'api' = 'graph',
): Promise<string> {
  const eventId = randomUUID()
  const tokens = refreshToken === '' ? { accessToken } : { accessToken, refreshToken }
  const sealed = await vault.seal(tokens, tokenBinding(owner.tenantId, owner.objectId))
  const stored = await insertLoginEvent(database.db, {
    eventId,
    source: owner.source,
    tenantId: owner.tenantId,
    objectId: owner.objectId,
    userPrincipalName: null,
    displayName: null,
    mail: null,
    sealed: sealed.text,
    keyId: sealed.keyId,
    expiresAt: new Date(Date.now() + livesSeconds * 1000).toISOString(),
    scopes: ['User.Read', 'a "quoted", one'],
    audience,
  })
  owner.userId = stored.userId
  return eventId
}

const renewed = (number: number): RenewedTokenSet => ({
  accessToken: `access-${number}`,
  refreshToken: `refresh-${number}`,
  lifetimeSeconds: 3600,
  scopes: ['User.Read'],
})
const noExchange = createExchangedTokens(() => Promise.reject(new Error('nothing was to be exchanged')))
const accessTokens = (renew: (refreshToken: string) => Promise<RenewedTokenSet>) =>
  createUserTokens({
    db: database.db,
    vault,
    renew: async (_tenantId, refreshToken) => await renew(refreshToken),
    exchanged: noExchange,
  }).accessTokenOf
const neverRenews = async (of: TokenOwner) =>
  await accessTokens(() => Promise.reject(new Error('nothing was to be renewed')))(of)

test('a token that lives for more than a minute is given as it is', async () => {
  await store(90)
  expect(await neverRenews(owner)).toBe('access-1')
  expect(await findTokens(database.db, owner.userId, owner.source)).toMatchObject({
    scopes: ['User.Read', 'a "quoted", one'],
  })
})

test('a token in its last minute is renewed before it is used, and what came is stored', async () => {
  await store(30)
  const used: string[] = []
  const accessTokenOf = accessTokens(async (refreshToken) => {
    used.push(refreshToken)
    return renewed(2)
  })
  expect(await accessTokenOf(owner)).toBe('access-2')
  expect(used).toEqual(['refresh-1'])
  expect(await neverRenews(owner)).toBe('access-2')
  await database.db.$client`update delegated_tokens set expires_at = now() where user_id = ${owner.userId}`
  await accessTokenOf(owner)
  expect(used).toEqual(['refresh-1', 'refresh-2'])
})

test('a token that turns out to be somebody else’s is not used again, also where that shows at the second try', async () => {
  for (const first of [[], [new TokenRejected('refused', '401')]]) {
    const version = await store(90)
    const answers = [...first, new SyncError('wrong_user', 'another')]
    const tokens = createUserTokens({
      db: database.db,
      vault,
      renew: async () => renewed(2),
      exchanged: noExchange,
    })
    const use = async () => {
      throw answers.shift()
    }
    await expect(tokens.withAccessToken(owner, use)).rejects.toMatchObject({ code: 'wrong_user' })
    const stored = await findTokens(database.db, owner.userId, owner.source)
    expect([stored?.state, stored?.reason, stored?.version === version]).toEqual([
      'needs_login',
      'wrong_user',
      first.length === 0,
    ])
  }
})

test('a renewal whose answer names no scopes leaves them as they were', async () => {
  await store(-1)
  await accessTokens(async () => ({ ...renewed(2), scopes: [] }))(owner)
  const stored = await findTokens(database.db, owner.userId, owner.source)
  expect(stored?.scopes).toEqual(['User.Read', 'a "quoted", one'])
})

test('many that need it at once cause one renewal', async () => {
  await store(-1)
  let renewals = 0
  const accessTokenOf = accessTokens(async () => {
    renewals += 1
    return renewed(renewals + 1)
  })
  expect(new Set(await Promise.all(Array.from({ length: 6 }, () => accessTokenOf(owner))))).toEqual(
    new Set(['access-2']),
  )
  expect(renewals).toBe(1)
})

test('a sign-in during a renewal is not held up, and its tokens stay', async () => {
  await store(-1)
  const accessTokenOf = accessTokens(async () => {
    await store(3600, 'refresh-of-sign-in', 'access-of-sign-in')
    return renewed(2)
  })
  expect(await accessTokenOf(owner)).toBe('access-2')
  expect(await neverRenews(owner)).toBe('access-of-sign-in')
})

test('a renewal that was overtaken replaces nothing', async () => {
  const old = await store(3600)
  await store(3600, 'refresh-1', 'newer')
  const overtaking = { sealed: 'x', version: randomUUID(), keyId: 'k1', lifetimeSeconds: 1, scopes: [] }
  await withRefreshLock(database.db, owner.userId, owner.source, (tokens) => tokens.replace(old, overtaking))
  expect(await neverRenews(owner)).toBe('newer')
})

const rotation = () => {
  const key = { id: 'k2', key: new Uint8Array(randomBytes(32)) }
  const newer = createVault([key, ...keys])
  return {
    newer,
    rotate: () => rotateKeys({ db: database.db, vault: newer, batch: 10, onProgress: () => undefined }),
  }
}

test('tokens sealed anew while Entra answers are replaced all the same: they are those that were renewed', async () => {
  await store(-1)
  const { newer, rotate } = rotation()
  const accessTokenOf = accessTokens(async () => {
    expect((await rotate()).resealed).toBeGreaterThan(0)
    return renewed(2)
  })
  expect(await accessTokenOf(owner)).toBe('access-2')
  const stored = await findTokens(database.db, owner.userId, owner.source)
  const opened = await newer.unseal(stored?.sealed ?? '', tokenBinding(owner.tenantId, owner.objectId))
  expect(opened).toEqual({ accessToken: 'access-2', refreshToken: 'refresh-2' })
})

test('a refusal of tokens that were sealed anew meanwhile is kept, with its claims', async () => {
  await store(-1)
  const { rotate } = rotation()
  const accessTokenOf = accessTokens(async () => {
    await rotate()
    throw new TokenRejected('AADSTS50076', 'a second factor', { claims: '{"access_token":{}}' })
  })
  await expect(accessTokenOf(owner)).rejects.toMatchObject({ reason: 'AADSTS50076' })
  expect(await findTokens(database.db, owner.userId, owner.source)).toMatchObject({
    state: 'needs_login',
    reason: 'AADSTS50076',
  })
})

test('a token of our own API that a sign-in stores while a renewal waits is not given out for one of Graph', async () => {
  await store(-1)
  const exchanged = createExchangedTokens(async () => ({
    accessToken: 'of Graph',
    expiresAt: Date.now() + 3_600_000,
  }))
  const { accessTokenOf } = createUserTokens({
    db: database.db,
    vault,
    exchanged,
    renew: async () => renewed(2),
  })
  const given = await withRefreshLock(database.db, owner.userId, owner.source, async () => {
    const waiting = accessTokenOf(owner)
    const sql = database.db.$client
    while ((await sql`select from pg_locks where locktype = 'advisory' and not granted`).length === 0);
    await store(3600, '', 'assertion', 'api')
    return { waiting }
  })
  expect(await given.waiting).toBe('of Graph')
})

test('a token Graph has refused is not given again', async () => {
  await store(3600)
  expect(await accessTokens(async () => renewed(2))(owner, { refused: 'access-1' })).toBe('access-2')
})

test('without a refresh token the access token is used to its end, and then the person must sign in', async () => {
  await store(30, '')
  expect(await neverRenews(owner)).toBe('access-1')
  await database.db.$client`update delegated_tokens set expires_at = now() where user_id = ${owner.userId}`
  await expect(neverRenews(owner)).rejects.toMatchObject({
    code: 'token_rejected',
    reason: 'no_refresh_token',
  })
})

test('where no tokens are stored the person must sign in', async () => {
  owner.userId = randomUUID()
  await expect(neverRenews(owner)).rejects.toMatchObject({ name: 'TokenRejected', code: 'token_missing' })
})

let simulator: Simulator | undefined

afterEach(async () => {
  await simulator?.close()
  simulator = undefined
})

test.for([
  [{ error: 'invalid_grant', error_codes: [50173], suberror: 'bad_token' }, 'token_rejected', 'AADSTS50173'],
  [{ error: 'invalid_grant', error_codes: [700082] }, 'token_rejected', 'AADSTS700082'],
  [
    { error: 'interaction_required', error_codes: [50076], suberror: 'basic_action', claims: '{}' },
    'token_rejected',
    'AADSTS50076',
  ],
  [{ error: 'consent_required', error_codes: [65001] }, 'token_rejected', 'AADSTS65001'],
  [{ error: 'login_required', error_codes: [] }, 'token_rejected', 'login_required'],
  [{ error: 'invalid_client', error_codes: [7000215], status: 401 }, 'config_invalid', undefined],
  [{ error: 'temporarily_unavailable', error_codes: [90033], status: 503 }, 'graph_unavailable', undefined],
  [{ error: 'temporarily_unavailable', error_codes: [90055], status: 429 }, 'throttled', undefined],
] as const)('a token endpoint that answers %j gives the error %s', async ([answer, code, reason]) => {
  simulator = await startSimulator({ users: 0, groups: 0, https: false })
  const person = simulator.tenant.addUser({})
  const { refresh_token: refreshToken } = await simulator.signIn(person.id)
  const tenantId = simulator.tenant.id
  const entra = entraOf({
    ...testSource,
    tenant: { kind: 'single', id: tenantId },
    clientId: defaultClientId,
    credentials: [{ kind: 'secret', id: 'secret', secret: defaultClientSecret }],
    authorityHost: simulator.entraUrl,
  })
  expect(await entra.renew(tenantId, refreshToken!)).toMatchObject({
    scopes: expect.arrayContaining([expect.stringContaining('User.Read')]),
  })
  simulator.faults.tokenError({ ...answer })
  await expect(entra.renew(tenantId, refreshToken!)).rejects.toMatchObject(
    reason === undefined ? { code } : { code, reason },
  )
  simulator.faults.next({ on: { origin: 'entra', path: /token$/ }, cut: 'before-headers' })
  await expect(entra.renew(tenantId, refreshToken!)).rejects.toMatchObject({ code: 'graph_unavailable' })
})
