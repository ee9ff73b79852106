import { expect, test } from 'vitest'
import { defaultApp, defaultClientId, type Fault } from '../src/simulator/index.ts'
import { givenAppWorld } from './support/app-world.ts'
import { application, clientOf, daemonApp } from './support/exchange-world.ts'

const { open } = givenAppWorld()

const permissions = ['Application.Read.All', 'GroupMember.Read.All']

/** A gateway that asks Graph which groups the daemon is in; and two of those, unless Graph doesn't know it. */
async function given({ roles = permissions, isKnown = true } = {}) {
  const seed = { apps: [{ ...defaultApp, multiTenant: true }, daemonApp] }
  const world = await open(
    'postgres',
    {
      APPLICATIONS: application,
      EXCHANGE: 'app',
      EXCHANGE_CALLERS: daemonApp.clientId,
      EXCHANGE_GROUPS: 'graph',
    },
    seed,
  )
  const { simulator } = world
  simulator.appRoles(defaultClientId, roles)
  const { tenant } = simulator
  const daemon = isKnown
    ? tenant.addServicePrincipal({ displayName: 'Nightly orders', appId: daemonApp.clientId })
    : undefined
  const [inner, outer] = ['Orders', 'Sales'].map(
    (displayName) => tenant.addGroup({ displayName, kind: 'security' }).id,
  )
  if (daemon) tenant.addMember(inner!, daemon.id)
  tenant.nest(outer!, inner!)
  const url = await world.startGateway()
  const client = clientOf(world, url)
  const groupsNow = async () => {
    const { claims } = await client.exchanged(client.asAssertion(await client.entraToken()))
    return claims['group_names']
  }
  const refusal = async () => {
    const answer = await client.asAssertion(await client.entraToken())
    return { status: answer.status, ...JSON.parse(await answer.text()) }
  }
  const answerOf = async () => {
    const { status, error } = await refusal()
    return [status, error]
  }
  const forget = async () =>
    await world.db.$client`update users set last_synced_at = now() - interval '1 hour'`
  const leave = () => daemon && simulator.tenant.removeMember(inner!, daemon.id)
  const asked = () => simulator.requests.all({}).filter(({ path }) => path.includes(aboutServices)).length
  return { world, leave, groupsNow, refusal, answerOf, forget, asked }
}

const aboutServices = '/servicePrincipals'
const graphFault = (fault: Fault) => ({ on: { path: aboutServices }, ...fault })
const unavailable = [503, 'temporarily_unavailable']
const crowd = <Value>(each: () => Promise<Value>) => Promise.all(Array.from({ length: 40 }, each))

test('a service is in the groups that Graph says it is in, asked as the app, and not at every exchange', async () => {
  const { world, leave, groupsNow, forget, asked } = await given()
  expect(await groupsNow()).toEqual(expect.arrayContaining(['Orders', 'Sales']))
  leave()
  expect(await groupsNow()).toHaveLength(2)
  await forget()
  expect(await groupsNow()).toEqual([])
  expect(asked()).toBe(2)
  const changes = await world.db.$client`select change from membership_changes order by id`
  expect(changes.map(({ change }) => String(change)).toSorted()).toEqual([
    'added',
    'added',
    'removed',
    'removed',
  ])
})

test('what is stored stands while Graph does not answer; a service it never told of has no token', async () => {
  const { world, groupsNow, answerOf, forget, asked } = await given()
  world.simulator.faults.next(graphFault({ status: 500 }))
  expect(await answerOf()).toEqual(unavailable)
  // Nobody asks again for a minute, but for a process that doesn't know of it.
  expect(await answerOf()).toEqual(unavailable)
  expect(asked()).toBe(1)
  await world.restartGateway()
  expect(await groupsNow()).toHaveLength(2)
  await forget()
  world.simulator.faults.next(graphFault({ status: 500 }))
  for (let round = 0; round < 3; round += 1) expect(await groupsNow()).toHaveLength(2)
  expect(asked()).toBe(3)
  expect(world.logged.join('')).toMatch(/groups of a service were not read/)
})

test('however many exchanges of a service come at once, Graph is asked once', async () => {
  const { answerOf, forget, asked } = await given()
  expect(new Set(await crowd(async () => (await answerOf())[0]))).toEqual(new Set([200]))
  expect(asked()).toBe(1)
  await forget()
  await crowd(answerOf)
  expect(asked()).toBe(2)
})

test('a pause that Graph asks for is one for the tenant, and nobody asks before its end', async () => {
  const { world, answerOf, groupsNow, forget, asked } = await given()
  const throttled = graphFault({ status: 429, headers: { 'retry-after': '120' }, times: 100 })
  world.simulator.faults.next(throttled)
  expect(await answerOf()).toEqual(unavailable)
  expect((await world.budget.state())?.pausedMs).toBeGreaterThan(100_000)
  await world.restartGateway()
  expect(await answerOf()).toEqual(unavailable)
  expect(asked()).toBe(1)
  world.simulator.faults.clear()
  await world.db.$client`delete from tenant_budgets`
  await world.restartGateway()
  expect(await groupsNow()).toHaveLength(2)
  await forget()
  world.simulator.faults.next(throttled)
  for (let round = 0; round < 5; round += 1) expect(await groupsNow()).toHaveLength(2)
  expect(asked()).toBe(3)
})

test('where Graph takes its time what is stored answers, and what it says is applied when it comes', async () => {
  const { world, leave, groupsNow, forget, asked } = await given()
  expect(await groupsNow()).toHaveLength(2)
  await forget()
  leave()
  world.simulator.faults.next(graphFault({ delayMs: 5000 }))
  // Whoever waited for Graph would hear of none.
  expect(await groupsNow()).toHaveLength(2)
  while ((await world.db.$client`select from memberships`).length > 0);
  expect(await groupsNow()).toEqual([])
  expect(asked()).toBe(2)
})

test('a service that Graph does not know yet is told to come back', async () => {
  const { answerOf } = await given({ isKnown: false })
  expect(await answerOf()).toEqual(unavailable)
})

test('a permission that is missing is named, and counts as soon as it is agreed to', async () => {
  const { world, refusal, groupsNow } = await given({ roles: ['GroupMember.Read.All'] })
  expect(await refusal()).toMatchObject({
    status: 503,
    error_description: expect.stringContaining('grant Application.Read.All'),
  })
  world.simulator.appRoles(defaultClientId, permissions)
  await world.restartGateway()
  expect(await groupsNow()).toHaveLength(2)
})
