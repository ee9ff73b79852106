import { getCACertificates, setDefaultCACertificates } from 'node:tls'
import { expect, test } from 'vitest'
import { findTokenState } from '../db/token-states.ts'
import { signIn } from '../src/embedded/browser.ts'
import { createExchangedTokens } from '../src/login/exchanged-tokens.ts'
import { createExchange } from '../src/login/on-behalf-of.ts'
import { createUserTokens } from '../src/login/tokens.ts'
import { createVault } from '../src/login/vault.ts'
import { syncUser } from '../src/sync.ts'
import { defaultClientId } from '../src/simulator/index.ts'
import { givenWorld } from './support/people.ts'
import { partsWith, type World } from './support/world.ts'

const people = givenWorld()

async function run(world: World, objectId: string, tokens = world.source.tokens) {
  const [user] = await world.db.$client<{ id: string }[]>`select id from users where object_id = ${objectId}`
  const userId = user!.id
  const tenantId = world.simulator.tenant.id
  const source = world.source.slug
  const end = await syncUser(partsWith(world, { tokens }), { userId, tenantId, source, cause: 'manual' })
  const keyIds = world.config.tokenKeys.map(({ id }) => id)
  return { ...end, tokens: await findTokenState(world.db, userId, source, keyIds) }
}

test('a person whom Graph challenges keeps the memberships, and signing in at the gateway is all it takes', async () => {
  const world = await people.open({ backend: 'postgres' })
  const url = await world.startGateway()
  const person = people.personIn(2)
  const { userPrincipalName } = world.simulator.tenant.user(person)
  await signIn(url, 'entra-id', userPrincipalName)
  expect(await run(world, person)).toMatchObject({ outcome: 'applied' })

  world.simulator.challenge(person)
  expect(await run(world, person)).toMatchObject({
    outcome: 'needs_login',
    tokens: { state: 'needs_login', reason: 'insufficient_claims' },
  })
  world.simulator.requests.clear()
  expect(await run(world, person)).toMatchObject({ outcome: 'needs_login' })
  expect(world.simulator.requests.all()).toEqual([])
  expect(await people.storedGroups(person)).toEqual(people.remoteGroups(person))

  await signIn(url, 'entra-id', userPrincipalName)
  expect(await run(world, person)).toMatchObject({ outcome: 'unchanged', tokens: { state: 'valid' } })
})

test('a person who is not assigned to the app is denied until an administrator and a sign-in mend it', async () => {
  const world = await people.open({ backend: 'postgres' })
  const url = await world.startGateway()
  const person = people.personIn(2)
  const { userPrincipalName } = world.simulator.tenant.user(person)
  await signIn(url, 'entra-id', userPrincipalName)
  await run(world, person)
  world.simulator.assign(person, false)
  await world.db.$client`update delegated_tokens set expires_at = now()`
  expect(await run(world, person)).toMatchObject({
    outcome: 'denied',
    error: { code: 'sign_in_denied' },
    tokens: { state: 'denied', reason: 'AADSTS50105' },
  })
  expect(await people.storedGroups(person)).toEqual(people.remoteGroups(person))
  world.simulator.assign(person, true)
  await signIn(url, 'entra-id', userPrincipalName)
  expect(await run(world, person)).toMatchObject({ outcome: 'unchanged' })
})

test("a simulated API's token becomes the person's memberships by the exchange that Entra offers", async () => {
  const world = await people.open({ backend: 'postgres', seed: { https: true } })
  const { entraUrl = '', caCertificate = '' } = world.simulator.https ?? {}
  setDefaultCACertificates([...getCACertificates('default'), caCertificate])
  const person = people.personIn(2)
  const scope = `api://${defaultClientId}/access_as_user`
  const api = await world.simulator.signIn(person, { scope })
  const store = async (accessToken: string) =>
    await world.context.loginSucceeded({
      tenantId: world.simulator.tenant.id,
      objectId: person,
      tokens: {
        accessToken,
        expiresAt: Math.floor(Date.now() / 1000) + api.expires_in,
        scopes: [scope],
        audience: 'api',
      },
    })
  await store(api.access_token)
  const source = { ...world.source.config, authorityHost: entraUrl }
  const tokens = createUserTokens({
    db: world.db,
    vault: createVault(world.config.tokenKeys),
    renew: () => Promise.reject(new Error('a token of audience api is not renewed')),
    exchanged: createExchangedTokens(createExchange(source, world.source.credentials)),
  })
  expect(await run(world, person, tokens)).toMatchObject({ outcome: 'applied' })
  expect(await people.storedGroups(person)).toEqual(people.remoteGroups(person))

  // A Graph token isn't the API's: nobody but Graph can read it.
  await store((await world.simulator.signIn(person)).access_token)
  expect(await run(world, person, tokens)).toMatchObject({
    outcome: 'needs_login',
    tokens: { state: 'needs_login', reason: 'AADSTS50013' },
  })
})
