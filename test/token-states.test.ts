import { Throttled } from '../src/errors.ts'
import { randomBytes } from 'node:crypto'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { closeDatabase, openDatabase } from '../db/client.ts'
import { findTokenState, findWantedClaims, tokenStates } from '../db/token-states.ts'
import { createExchangedTokens } from '../src/login/exchanged-tokens.ts'
import { createUserTokens } from '../src/login/tokens.ts'
import { createVault } from '../src/login/vault.ts'
import { syncUser } from '../src/sync.ts'
import { givenWorld } from './support/people.ts'
import { partsWith, type World } from './support/world.ts'

const people = givenWorld()
let world: World
let person: string
let userId: string
let keyIds: string[]

beforeEach(async () => {
  world = await people.open({ backend: 'postgres' })
  person = people.personIn(3)
  keyIds = world.config.tokenKeys.map(({ id }) => id)
  await signIn()
  const [user] = await world.db.$client<{ id: string }[]>`select id from users where object_id = ${person}`
  userId = user!.id
})

/** Stores what a sign-in gives; no worker is there to run its job. */
async function signIn() {
  await world.context.loginSucceeded(await people.signedIn(person))
}

const run = async () =>
  await syncUser(world.context, {
    userId,
    tenantId: world.simulator.tenant.id,
    source: world.source.config.slug,
    cause: 'manual',
  })

const spend = async () =>
  await world.db.$client`update delegated_tokens set expires_at = now() where user_id = ${userId}`
const state = async () => await findTokenState(world.db, userId, 'entra-id', keyIds)
const asked = (origin: 'entra' | 'graph') => world.simulator.requests.all({ origin }).length

/** What Graph says to a client that handles challenges. */
const claims = '{"access_token":{"acrs":{"essential":true,"value":"c1"}}}'
const challenge = (times = 1) =>
  world.simulator.faults.next({
    on: { path: /\$batch$/ },
    status: 401,
    headers: {
      'WWW-Authenticate': `Bearer realm="", error="insufficient_claims", claims="${Buffer.from(claims).toString('base64')}"`,
    },
    times,
  })

test('a revoked refresh token needs a sign-in, keeps the memberships, is not sent again, and the sign-in heals', async () => {
  expect(await run()).toMatchObject({ outcome: 'applied' })
  world.simulator.revokeUserTokens(person)
  await spend()
  expect(await run()).toMatchObject({ outcome: 'needs_login', error: { reason: 'AADSTS50173' } })
  expect(await state()).toEqual({ state: 'needs_login', reason: 'AADSTS50173' })

  world.simulator.requests.clear()
  const again = await run()
  expect(again).toMatchObject({ outcome: 'needs_login', error: { reason: 'AADSTS50173' } })
  expect(again.error?.code).toBe('token_rejected')
  expect([asked('entra'), asked('graph')]).toEqual([0, 0])
  expect(await people.storedGroups(person)).toEqual(people.remoteGroups(person))

  await signIn()
  expect(await state()).toEqual({ state: 'valid', reason: null })
  expect(await run()).toMatchObject({ outcome: 'unchanged' })
})

test('a disabled account is denied, keeps the memberships, and is not asked about again', async () => {
  await run()
  world.simulator.tenant.updateUser(person, { accountEnabled: false })
  await spend()
  const first = await run()
  expect(first).toMatchObject({ outcome: 'denied', error: { code: 'sign_in_denied', reason: 'AADSTS50057' } })
  world.simulator.requests.clear()
  expect(await run()).toMatchObject({ outcome: 'denied', error: { code: 'sign_in_denied' } })
  expect(asked('entra')).toBe(0)
  expect(await state()).toEqual({ state: 'denied', reason: 'AADSTS50057' })
  expect(await people.storedGroups(person)).toEqual(people.remoteGroups(person))
  const runs = await world.db.$client`select outcome, error_code from sync_runs order by started_at`
  expect(runs.slice(1)).toEqual(
    Array.from({ length: 2 }, () => ({ outcome: 'denied', error_code: 'sign_in_denied' })),
  )
})

test('a claims challenge that a renewal satisfies is nothing to sign in for', async () => {
  challenge()
  expect(await run()).toMatchObject({ outcome: 'applied' })
  expect(await state()).toEqual({ state: 'valid', reason: null })
})

test('a claims challenge that a renewal does not satisfy is kept for the next sign-in, which ends it', async () => {
  await run()
  challenge()
  world.simulator.faults.tokenError({
    error: 'interaction_required',
    suberror: 'basic_action',
    error_codes: [50076],
    claims: '{"access_token":{"polids":{"essential":true,"values":["p"]}}}',
  })
  expect(await run()).toMatchObject({ outcome: 'needs_login' })
  expect(await state()).toEqual({ state: 'needs_login', reason: 'insufficient_claims' })
  const wanted = async () => await findWantedClaims(world.db, world.simulator.tenant.id, person, 'entra-id')
  expect(JSON.parse((await wanted()) ?? '')).toEqual({
    access_token: {
      acrs: { essential: true, value: 'c1' },
      polids: { essential: true, values: ['p'] },
    },
  })
  world.simulator.requests.clear()
  expect(await run()).toMatchObject({ outcome: 'needs_login', error: { reason: 'insufficient_claims' } })
  expect([asked('entra'), asked('graph')]).toEqual([0, 0])
  await signIn()
  expect(await wanted()).toBeUndefined()
  expect(await run()).toMatchObject({ outcome: 'unchanged' })
})

test('a challenge that stands after the renewal is kept too; a plain 401 is not, since nobody knows why', async () => {
  world.simulator.faults.next({ on: { path: /\$batch$/ }, status: 401, times: 2 })
  expect(await run()).toMatchObject({ outcome: 'needs_login' })
  expect(await state()).toEqual({ state: 'valid', reason: null })
  challenge(2)
  expect(await run()).toMatchObject({ outcome: 'needs_login' })
  expect(await state()).toEqual({ state: 'needs_login', reason: 'insufficient_claims' })
})

test('tokens that nothing can renew are used to their end, and then need a sign-in', async () => {
  const { tokens, ...event } = await people.signedIn(person)
  const { refreshToken: _, ...unrenewable } = tokens
  await world.context.loginSucceeded({ ...event, tokens: unrenewable })
  expect(await run()).toMatchObject({ outcome: 'applied' })
  await spend()
  expect(await state()).toEqual({ state: 'expiring', reason: null })
  expect(await run()).toMatchObject({ outcome: 'needs_login', error: { reason: 'no_refresh_token' } })
  expect(await state()).toEqual({ state: 'needs_login', reason: 'no_refresh_token' })
})

test('states are counted by reason, and tokens of a missing key are a state that passes when it is back', async () => {
  expect(await tokenStates(world.db, keyIds)).toEqual([{ state: 'valid', reason: null, tokens: 1 }])
  expect(await tokenStates(world.db, ['another'])).toEqual([
    { state: 'needs_login', reason: 'token_unreadable', tokens: 1 },
  ])
  const vault = createVault([{ id: 'another', key: new Uint8Array(randomBytes(32)) }])
  const withoutKey = createUserTokens({ db: world.db, vault, renew: notNow, exchanged })
  const end = await syncUser(partsWith(world, { tokens: withoutKey }), {
    userId,
    tenantId: world.simulator.tenant.id,
    source: 'entra-id',
    cause: 'manual',
  })
  expect(end).toMatchObject({ outcome: 'needs_login', error: { code: 'token_unreadable' } })
  expect(end.error?.message).toContain(keyIds[0])
  expect(await run()).toMatchObject({ outcome: 'applied' })
})

const notNow = () => Promise.reject(new Error('nothing was to be renewed'))
const exchanged = createExchangedTokens(notNow)
const pools: ReturnType<typeof openDatabase>[] = []

afterEach(async () => {
  await Promise.all(pools.splice(0).map(closeDatabase))
})

async function waitingForLocks(): Promise<number> {
  const [row] = await world.db.$client<{ waiting: number }[]>`
    select count(*)::int as waiting from pg_locks where locktype = 'advisory' and not granted
      and database = (select oid from pg_database where datname = current_database())`
  return row?.waiting ?? 0
}

test('processes that renew the same tokens at once redeem the refresh token once', async () => {
  await spend()
  const { entra } = world.source
  const begun: string[] = []
  const renew = async (tenantId: string, refreshToken: string) => {
    begun.push(refreshToken)
    // Entra answers when the two others wait, or ask as well.
    while (begun.length < 2 && (await waitingForLocks()) < 2);
    return await entra.renew(tenantId, refreshToken)
  }
  const vault = createVault(world.config.tokenKeys)
  const processes = [1, 2, 3].map(() => {
    const db = openDatabase(world.config.databaseUrl, { max: 2 })
    pools.push(db)
    return createUserTokens({ db, vault, renew, exchanged })
  })
  const owner = { userId, tenantId: world.simulator.tenant.id, objectId: person, source: 'entra-id' }
  const given = await Promise.all(processes.map((tokens) => tokens.accessTokenOf(owner)))
  expect(new Set(given).size).toBe(1)
  expect(world.simulator.requests.all({ origin: 'entra', path: /token$/ })).toHaveLength(1)
})

test('a refusal that a sign-in has overtaken says nothing about its tokens', async () => {
  await spend()
  const tokens = createUserTokens({
    db: world.db,
    vault: createVault(world.config.tokenKeys),
    exchanged,
    renew: async (tenantId, refreshToken) => {
      await signIn()
      world.simulator.faults.tokenError({ error: 'invalid_grant', error_codes: [50173] })
      return await world.source.entra.renew(tenantId, refreshToken)
    },
  })
  const owner = { userId, tenantId: world.simulator.tenant.id, objectId: person, source: 'entra-id' }
  await expect(tokens.accessTokenOf(owner)).rejects.toMatchObject({ reason: 'AADSTS50173' })
  expect(await state()).toEqual({ state: 'valid', reason: null })
})

test('a token endpoint that asks for a pause is given it, and nothing is stored against the tokens', async () => {
  await spend()
  world.simulator.faults.next({
    on: { origin: 'entra', path: /token$/ },
    status: 429,
    headers: { 'Retry-After': '7' },
    body: '<html>slow down</html>',
  })
  const thrown = await run().catch((error: unknown) => error)
  expect(thrown).toMatchObject({ code: 'throttled' })
  expect(thrown instanceof Throttled && thrown.retryAfterMs).toBeGreaterThan(6000)
  expect(await state()).toMatchObject({ state: 'expiring' })
  await world.db.$client`truncate tenant_budgets`
  expect(await run()).toMatchObject({ outcome: 'applied' })
})
