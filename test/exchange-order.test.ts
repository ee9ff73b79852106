import { expect, test } from 'vitest'
import { markGroupsDeleted } from '../db/groups.ts'
import type { Database } from '../db/client.ts'
import { claiming, daemonApp, givenExchange } from './support/exchange-world.ts'

const { given, login, storedGroups } = givenExchange()

/** Tokens of the daemon's by the seconds since now at which they were issued, and which groups they come to. */
async function givenTokens(environment: Record<string, string> = {}) {
  const exchange = await given(environment)
  const { entraToken, asAssertion, exchanged } = exchange
  const now = Math.floor(Date.now() / 1000)
  const at = async (seconds: number, roles: readonly string[] = []) =>
    await entraToken({ fault: claiming({ iat: now + seconds, nbf: now - 600, roles }) })
  const claimsOf = async (token: string) => (await exchanged(asAssertion(token))).claims
  return { ...exchange, at, claimsOf }
}

const countRuns = async (db: Database) => (await db.$client`select from sync_runs`).length

test('an exchange of an older token writes nothing, however many there are', async () => {
  const { world, at, claimsOf } = await givenTokens()
  await claimsOf(await at(-200, ['B']))
  for (let seconds = -300; seconds < -290; seconds += 1)
    expect((await claimsOf(await at(seconds, ['A'])))['group_names']).toEqual(['B'])
  expect(await countRuns(world.db)).toBe(1)
})

test('of two tokens of the same second the first counts', async () => {
  const { world, at, claimsOf } = await givenTokens()
  const [first, second] = [await at(-200, ['A', 'B']), await at(-200, ['B'])]
  for (const token of [first, second, first, second])
    expect((await claimsOf(token))['group_names']).toHaveLength(2)
  expect(await countRuns(world.db)).toBe(1)
})

test('a changed map counts for tokens that were exchanged before it', async () => {
  const [one, two] = [crypto.randomUUID(), crypto.randomUUID()]
  const map = (group: string) => `${daemonApp.clientId}=${group}`
  const { world, at, claimsOf } = await givenTokens({
    EXCHANGE_GROUPS: 'mapped',
    EXCHANGE_GROUP_MAP: map(one),
  })
  const token = await at(-200)
  expect((await claimsOf(token))['groups']).toEqual([one])
  const { exchange } = world.source
  world.source.exchange = exchange && { ...exchange, groupMap: { [daemonApp.clientId]: [two] } }
  await world.restartGateway()
  expect((await claimsOf(token))['groups']).toEqual([two])
})

test('a mapped group that Entra has deleted is left out without a trace, and is back when a read has listed it', async () => {
  const group = crypto.randomUUID()
  const kept = crypto.randomUUID()
  const { world, at, claimsOf } = await givenTokens({
    EXCHANGE_GROUPS: 'mapped',
    EXCHANGE_GROUP_MAP: `${daemonApp.clientId}=${group} ${kept}`,
  })
  const { tenant } = world.simulator
  expect((await claimsOf(await at(-300)))['groups']).toHaveLength(2)
  const run = { id: crypto.randomUUID() }
  const deletion = { tenantId: tenant.id, objectIds: [group], at: new Date().toISOString(), run }
  expect(await markGroupsDeleted(world.db, deletion)).toMatchObject({ groups: 1 })
  expect((await claimsOf(await at(-200)))['groups']).toEqual([kept])
  const runs = await countRuns(world.db)
  const token = await at(-200)
  await world.restartGateway()
  for (let round = 0; round < 5; round += 1) expect((await claimsOf(token))['groups']).toEqual([kept])
  expect(await countRuns(world.db)).toBe(runs)
  const person = tenant.addUser({ displayName: 'Ada' }).id
  tenant.addMember(tenant.addGroup({ id: group, displayName: 'Restored', kind: 'security' }).id, person)
  await world.startWorkers()
  await login(person)
  expect(await storedGroups(person)).toEqual([group])
  expect((await claimsOf(await at(-100)))['groups']).toHaveLength(2)
})
