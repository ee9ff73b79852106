import { randomUUID } from 'node:crypto'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { openWorld, type World } from './support/world.ts'

let home: World
let resource: World

/** Two sources of two tenants on one database. */
beforeAll(async () => {
  home = await openWorld({ backend: 'postgres' })
  resource = await openWorld({
    backend: 'postgres',
    seed: { seed: 2 },
    environment: {
      DATABASE_URL: home.environment['DATABASE_URL']!,
      TOKEN_ENCRYPTION_KEYS: home.environment['TOKEN_ENCRYPTION_KEYS']!,
      SOURCE_SLUG: 'partner',
    },
  })
  await Promise.all([home.startWorkers(), resource.startWorkers()])
})
afterAll(async () => {
  await resource.close()
  await home.close()
})

const groupNames = async ({ simulator }: World, objectId: string) => {
  const rows = await home.db.$client<{ name: string }[]>`
    select g.display_name as name from memberships m join users u on u.id = m.user_id join groups g on g.id = m.group_id
    where u.tenant_id = ${simulator.tenant.id} and u.object_id = ${objectId} and g.tenant_id = u.tenant_id order by 1`
  return rows.map(({ name }) => name)
}

async function login({ simulator, context }: World, objectId: string) {
  const tokens = await simulator.signIn(objectId)
  const event = {
    tenantId: simulator.tenant.id,
    objectId,
    userPrincipalName: 'ada@contoso.example',
    tokens: {
      accessToken: tokens.access_token,
      refreshToken: tokens.refresh_token,
      expiresAt: Math.floor(Date.now() / 1000) + tokens.expires_in,
      scopes: tokens.scope.split(' '),
    },
  }
  return await context.loginSucceeded(event, { waitUpToMs: 20_000 })
}

test('a guest in two tenants is two people, each in the groups of that tenant alone, even where all ids are the same', async () => {
  const [person, group] = [randomUUID(), randomUUID()]
  for (const [world, name] of [
    [home, 'Home'],
    [resource, 'Partner'],
  ] as const) {
    const { tenant } = world.simulator
    tenant.addUser({ id: person, guest: world === resource, userPrincipalName: 'ada@contoso.example' })
    tenant.addGroup({ id: group, displayName: `${name} staff`, kind: 'security' })
    tenant.addMember(group, person)
    expect(await login(world, person)).toMatchObject({ outcome: 'applied' })
  }
  expect(await groupNames(home, person)).toEqual(['Home staff'])
  expect(await groupNames(resource, person)).toEqual(['Partner staff'])

  resource.simulator.tenant.removeMember(group, person)
  expect(await login(resource, person)).toMatchObject({ outcome: 'applied' })
  expect(await groupNames(resource, person)).toEqual([])
  expect(await groupNames(home, person)).toEqual(['Home staff'])
})

test('the pause of one tenant does not hold up the other', async () => {
  const [here, there] = [home, resource].map(({ simulator }) => simulator.tenant.addUser().id)
  resource.simulator.faults.next({
    on: { path: /\$batch/ },
    status: 429,
    headers: { 'Retry-After': '3' },
  })
  const waiting = login(resource, there!)
  while (((await resource.budget.state())?.pausedMs ?? 0) === 0)
    await new Promise((resolve) => setImmediate(resolve))
  expect(await login(home, here!)).toMatchObject({ outcome: 'applied' })
  expect((await resource.budget.state())?.pausedMs).toBeGreaterThan(0)
  expect(await waiting).toMatchObject({ outcome: 'applied' })
})
