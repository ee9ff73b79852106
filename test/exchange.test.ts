import { expect, test } from 'vitest'
import { markGroupsDeleted } from '../db/groups.ts'
import { givenExchange, application, daemonApp, claiming } from './support/exchange-world.ts'
import { defaultClientId } from '../src/simulator/index.ts'

const { given, login, personIn, storedGroups } = givenExchange()

test('a daemon gets a local token for the one that Entra gave it, and is in the groups of its roles', async () => {
  const { entraToken, asAssertion, exchanged, url, world } = await given()
  const { claims, expires_in: seconds, scope } = await exchanged(asAssertion(await entraToken()))
  const [service] = await world.db.$client`select id, kind, app_id from users`
  expect(service).toMatchObject({ kind: 'service', app_id: daemonApp.clientId })
  expect([seconds, scope]).toEqual([600, 'groups'])
  expect(claims).toMatchObject({
    iss: `${url}/application/o/`,
    sub: service?.['id'],
    aud: application,
    azp: daemonApp.clientId,
    idtyp: 'app',
    tid: world.simulator.tenant.id,
  })
  expect(claims['group_names']).toEqual(expect.arrayContaining(['Orders.Read', 'Orders.Write']))
  expect(claims['groups']).toHaveLength(2)
})

test.for(['v1', 'v2'] as const)(
  'tokens of %s are exchanged by either grant, told apart or not',
  async (version) => {
    const api = {
      ownRoles: ['Orders.Read'],
      accessTokenVersion: version === 'v1' ? (1 as const) : (2 as const),
    }
    const { entraToken, asAssertion, asSubject, exchanged } = await given({}, { ...api, idTypeClaim: true })
    const token = await entraToken()
    const first = await exchanged(asAssertion(token))
    const second = await exchanged(asSubject(token, { scope: 'openid groups', audience: application }))
    expect(second.claims.sub).toBe(first.claims.sub)
    expect(second.issued_token_type).toBe('urn:ietf:params:oauth:token-type:access_token')
  },
)

test('a service keeps its id and its groups over a hundred exchanges and a restart, and writes little', async () => {
  const { entraToken, asAssertion, exchanged, world } = await given()
  const token = await entraToken()
  const seen = new Set<string>()
  const note = async () => {
    const { claims } = await exchanged(asAssertion(token))
    seen.add(JSON.stringify([claims.sub, claims['groups'], claims['group_names']]))
  }
  for (let round = 0; round < 10; round += 1) await Promise.all(Array.from({ length: 9 }, note))
  await world.restartGateway()
  for (let round = 0; round < 10; round += 1) await note()
  expect(seen.size).toBe(1)
  const counts = await world.db.$client`
    select (select count(*) from users)::int as users, (select count(*) from membership_changes)::int as changes`
  expect(counts).toEqual([{ users: 1, changes: 2 }])
})

test('roles come and go with newer tokens, and an older token takes nothing back', async () => {
  const { entraToken, asAssertion, exchanged, world } = await given()
  const now = Math.floor(Date.now() / 1000)
  const at = (seconds: number, roles?: readonly string[]) =>
    entraToken({ fault: claiming({ iat: now + seconds, nbf: now - 600, roles }) })
  const namesOf = async (token: string) => (await exchanged(asAssertion(token))).claims['group_names']
  expect(await namesOf(await at(-300, ['A', 'B']))).toHaveLength(2)
  expect(await namesOf(await at(-200, ['B']))).toEqual(['B'])
  expect(await namesOf(await at(-300, ['A', 'B']))).toEqual(['B'])
  expect(await namesOf(await at(-100))).toEqual([])
  const log = await world.db.$client`select change from membership_changes order by id`
  expect(log.map(({ change }) => String(change))).toEqual(['added', 'added', 'removed', 'removed'])
  const runs = await world.db.$client`select distinct cause from sync_runs`
  expect(runs).toEqual([{ cause: 'exchange' }])
})

test('groups may be mapped to roles and to client ids instead', async () => {
  const [one, two, other] = [crypto.randomUUID(), crypto.randomUUID(), crypto.randomUUID()]
  const { entraToken, asAssertion, exchanged, world } = await given({
    EXCHANGE_GROUPS: 'mapped',
    EXCHANGE_GROUP_MAP: `Orders.Read=${one}; ${daemonApp.clientId}=${two} ${one}; Nobody=${other}`,
  })
  const { claims } = await exchanged(asAssertion(await entraToken()))
  expect(claims['groups']).toEqual([one, two].toSorted())
  // That Entra has deleted one is not undone by a map that still names it.
  const at = new Date().toISOString()
  const deletion = {
    tenantId: world.simulator.tenant.id,
    objectIds: [one],
    at,
    run: { id: crypto.randomUUID() },
  }
  expect(await markGroupsDeleted(world.db, deletion)).toEqual({ groups: 1, memberships: 1 })
  for (let round = 0; round < 2; round += 1)
    expect((await exchanged(asAssertion(await entraToken()))).claims['groups']).toEqual([two])
  expect(await world.db.$client`select from groups where deleted_at is not null`).toHaveLength(1)
})

test('a person who signs in here has their groups in a token that an app has for them, where that is agreed to', async () => {
  const { asSubject, exchanged, world } = await given({ EXCHANGE: 'any', EXCHANGE_CALLERS: 'any' })
  await world.startWorkers()
  const id = personIn(2)
  const scope = `api://${defaultClientId}/access_as_user`
  const { access_token: token } = await world.simulator.signIn(id, { scope })
  const before = await asSubject(token)
  expect(before.status).toBe(400)
  expect(await before.json()).toMatchObject({ error: 'invalid_grant' })
  await login(id)
  const { claims } = await exchanged(asSubject(token))
  expect(claims).toMatchObject({ idtyp: 'user', oid: id, groups: await storedGroups(id) })
  expect(claims['groups']).toHaveLength(2)
})

test('who is disabled here, or frozen, has no token, or none with groups', async () => {
  const { asSubject, exchanged, entraToken, world } = await given({ EXCHANGE: 'any' })
  const token = await entraToken()
  await exchanged(asSubject(token))
  await world.db.$client`update users set frozen_at = now()`
  expect((await exchanged(asSubject(token))).claims['groups']).toEqual([])
  await world.db.$client`update users set enabled = false, disabled_by = 'local'`
  const refused = await asSubject(token)
  expect([refused.status, await refused.json()]).toMatchObject([400, { error: 'invalid_grant' }])
})

test('of more than two hundred groups, and of names that have no room, a token tells where to ask', async () => {
  const roles = Array.from({ length: 201 }, (_, index) => `Role.${index}`)
  const { entraToken, asAssertion, exchanged, url } = await given()
  const fits = await exchanged(asAssertion(await entraToken({ roles: roles.slice(1) })))
  expect(fits.claims['groups']).toHaveLength(200)
  expect(fits.claims['group_names']).toBeUndefined()
  expect(fits.claims['_claim_names']).toEqual({ group_names: 'local' })
  // As a header, with room for others: many servers take 16 KB of them.
  expect(fits.access_token.length).toBeLessThan(12_500)
  // Of two tokens of one second the first counts.
  const later = claiming({ iat: Math.floor(Date.now() / 1000) + 5 })
  const { claims } = await exchanged(asAssertion(await entraToken({ roles, fault: later })))
  expect(claims['groups']).toBeUndefined()
  expect(claims['_claim_sources']).toEqual({ local: { endpoint: `${url}/v1/users/me/groups` } })
})

test('everybody’s groups may be read by apps that have the role for it, and by no other', async () => {
  const { entraToken, asAssertion, exchanged } = await given()
  const scope = 'groups.read.all'
  const refused = await asAssertion(await entraToken(), { scope })
  expect([refused.status, await refused.json()]).toMatchObject([400, { error: 'invalid_scope' }])
  const token = await entraToken({ roles: [scope] })
  expect((await exchanged(asAssertion(token, { scope }))).scope).toBe('groups groups.read.all')
  expect((await exchanged(asAssertion(token))).scope).toBe('groups')
})
