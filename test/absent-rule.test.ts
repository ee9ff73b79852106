import { beforeEach, expect, test } from 'vitest'
import { createVault } from '../src/login/vault.ts'
import { createExchangedTokens } from '../src/login/exchanged-tokens.ts'
import { createUserTokens } from '../src/login/tokens.ts'
import type { OpenSource } from '../src/open-source.ts'
import { resyncOf } from '../src/resync-settings.ts'
import { syncUser } from '../src/sync.ts'
import { givenWorld } from './support/people.ts'
import { partsWith, type World } from './support/world.ts'

const { open, personIn, signedIn, storedGroups, remoteGroups } = givenWorld()
let world: World
let person: string
let userId: string

/** Somebody with two groups and tokens that work, who was here 31 days ago. */
beforeEach(async () => {
  world = await open({ backend: 'postgres' })
  person = personIn(2)
  await world.context.loginSucceeded(await signedIn(person))
  const [user] = await world.db.$client<{ id: string }[]>`select id from users`
  userId = user!.id
  await run('manual')
  await world.db.$client`update users set last_login_at = now() - interval '31 days'`
})

const resync = resyncOf({ absent: 'remove', absentAfterDays: 30 })

/** A run by a source whose rule is to remove, with some of it replaced. */
async function run(cause: 'manual' | 'resync', changes: Partial<OpenSource> = {}, others: OpenSource[] = []) {
  const { db, sources } = partsWith(world, { resync, ...changes })
  const all = new Map([...sources, ...others.map((each) => [each.slug, each] as const)])
  const { tenantId, source } = { tenantId: world.simulator.tenant.id, source: world.source.slug }
  return await syncUser({ db, sources: all }, { userId, tenantId, source, cause })
}

const tokens = async (state: string, reason: string, source = 'entra-id') =>
  await world.db
    .$client`update delegated_tokens set state = ${state}, reason = ${reason} where source = ${source}`
const spend = async () => await world.db.$client`update delegated_tokens set expires_at = now()`
const untouched = async () => expect(await storedGroups(person)).toEqual(remoteGroups(person).toSorted())

test.for([
  ['needs_login', 'AADSTS700082'],
  ['needs_login', 'no_refresh_token'],
  ['denied', 'AADSTS50034'],
] as const)('who does not come back loses what is stored where %s for %s', async ([state, reason]) => {
  await tokens(state, reason)
  expect(await run('resync')).toMatchObject({ outcome: 'applied', counts: { removed: 2 } })
  expect(await storedGroups(person)).toEqual([])
})

test('consent that is missing is no fault of theirs: nothing is removed', async () => {
  await spend()
  world.simulator.faults.tokenError(65001)
  for (let times = 0; times < 2; times += 1)
    expect(await run('resync')).toMatchObject({
      outcome: 'needs_login',
      error: { reason: 'AADSTS65001' },
    })
  await untouched()
})

test('a key that is missing is no fault of theirs either', async () => {
  const vault = createVault([{ id: 'other', key: new Uint8Array(32) }])
  const lost = createUserTokens({
    db: world.db,
    vault,
    renew: world.source.entra.renew,
    exchanged: createExchangedTokens(async () => await Promise.reject(new Error('not asked'))),
  })
  expect(await run('resync', { tokens: lost })).toMatchObject({ error: { code: 'token_unreadable' } })
  await untouched()
})

test.for([
  [401, 'needs_login'],
  [403, 'denied'],
] as const)('nor is a %s of Graph about a token that Entra takes', async ([status, outcome]) => {
  world.simulator.faults.next({ on: { path: /\$batch$/ }, status, times: 2 })
  expect(await run('resync')).toMatchObject({ outcome })
  await untouched()
})

test('a source whose group sync is off removes nothing, whatever its rule', async () => {
  await tokens('needs_login', 'AADSTS700082')
  expect(await run('resync', { syncs: false })).toMatchObject({ error: { code: 'group_sync_off' } })
  await untouched()
})

test('whom another source can still read is not absent, and whom it can not is', async () => {
  await world.db.$client`
    insert into delegated_tokens (user_id, source, sealed, version, key_id, expires_at, scopes)
    select user_id, 'other', sealed, version, key_id, expires_at, scopes from delegated_tokens`
  await tokens('needs_login', 'AADSTS700082')
  const other = { ...world.source, slug: 'other' }
  expect(await run('resync', {}, [other])).toMatchObject({ outcome: 'needs_login' })
  await untouched()
  await tokens('needs_login', 'AADSTS700082', 'other')
  const ofApp = { ...other, resync: resyncOf({ read: 'app' }) }
  expect(await run('resync', {}, [ofApp])).toMatchObject({ outcome: 'needs_login' })
  await untouched()
  // Neither one that reads nobody, nor one that is configured no more.
  await tokens('valid', '', 'other')
  expect(await run('resync', {}, [{ ...other, syncs: false }])).toMatchObject({ outcome: 'applied' })
  expect(await storedGroups(person)).toEqual([])
})
