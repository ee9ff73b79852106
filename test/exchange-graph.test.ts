import { expect, test } from 'vitest'
import { defaultApp, defaultClientId } from '../src/simulator/index.ts'
import { givenAppWorld } from './support/app-world.ts'
import { application, clientOf, daemonApp } from './support/exchange-world.ts'

const { open } = givenAppWorld()

/** A gateway that asks Graph which groups the daemon is in; and two of those. */
async function given() {
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
  simulator.appRoles(defaultClientId, ['Application.Read.All', 'GroupMember.Read.All'])
  const { tenant } = simulator
  const daemon = tenant.addServicePrincipal({ displayName: 'Nightly orders', appId: daemonApp.clientId })
  const [inner, outer] = ['Orders', 'Sales'].map(
    (displayName) => tenant.addGroup({ displayName, kind: 'security' }).id,
  )
  tenant.addMember(inner!, daemon.id)
  tenant.nest(outer!, inner!)
  const url = await world.startGateway()
  const client = clientOf(world, url)
  const groupsNow = async () => {
    const { claims } = await client.exchanged(client.asAssertion(await client.entraToken()))
    return claims['group_names']
  }
  const forget = async () =>
    await world.db.$client`update users set last_synced_at = now() - interval '1 hour'`
  return { world, daemon, inner: inner!, outer: outer!, groupsNow, forget, ...client }
}

test('a service is in the groups that Graph says it is in, asked as the app, and not at every exchange', async () => {
  const { world, daemon, inner, groupsNow, forget } = await given()
  const { simulator } = world
  expect(await groupsNow()).toEqual(expect.arrayContaining(['Orders', 'Sales']))
  simulator.tenant.removeMember(inner, daemon.id)
  expect(await groupsNow()).toHaveLength(2)
  await forget()
  expect(await groupsNow()).toEqual([])
  const paths = simulator.requests.all({}).filter(({ path }) => path.includes('servicePrincipals'))
  expect(paths).toHaveLength(2)
  const changes = await world.db.$client`select change from membership_changes order by id`
  expect(changes.map(({ change }) => String(change)).toSorted()).toEqual([
    'added',
    'added',
    'removed',
    'removed',
  ])
})

test('what is stored stands while Graph does not answer; a service it never told of has no token', async () => {
  const { world, groupsNow, forget, asAssertion, entraToken } = await given()
  const broken = { on: { path: '/servicePrincipals' }, status: 500 }
  world.simulator.faults.next(broken)
  const refused = await asAssertion(await entraToken())
  expect([refused.status, await refused.json()]).toMatchObject([503, { error: 'temporarily_unavailable' }])
  expect(await groupsNow()).toHaveLength(2)
  await forget()
  world.simulator.faults.next(broken)
  expect(await groupsNow()).toHaveLength(2)
  expect(world.logged.join('')).toMatch(/groups of a service were not read/)
})
