import * as fc from 'fast-check'
import { afterAll, describe, expect, test } from 'vitest'
import { z } from 'zod'
import { startSimulator, type Simulator, type SimulatorSeed, type Tenant } from '../src/simulator/index.ts'

const opened: Simulator[] = []

async function start(seed: SimulatorSeed): Promise<Simulator> {
  const simulator = await startSimulator({ https: false, ...seed })
  opened.push(simulator)
  return simulator
}

afterAll(() => Promise.all(opened.map((simulator) => simulator.close())))

function contents(tenant: Tenant) {
  const links = tenant.users().map(({ id }) => [id, tenant.groupsOf(id).map((group) => group.id)])
  return {
    id: tenant.id,
    users: tenant.users(),
    groups: tenant.groups(),
    roles: tenant.directoryRoles(),
    links,
  }
}

describe('a generated tenant', () => {
  test('is the same for the same seed, and another for another', async () => {
    const [first, again, other] = await Promise.all([
      start({ seed: 4, users: 30 }),
      start({ seed: 4, users: 30 }),
      start({ seed: 5, users: 30 }),
    ])
    expect(contents(again.tenant)).toStrictEqual(contents(first.tenant))
    const ids = [...first.tenant.users(), ...first.tenant.groups()].map(({ id }) => id)
    expect(z.array(z.uuidv4()).parse(ids)).toHaveLength(new Set(ids).size)
    expect(other.tenant.id).not.toBe(first.tenant.id)
    expect(other.tenant.users().map(({ id }) => id)).not.toContain(first.tenant.users()[0]?.id)
  })

  test('comes back on reset, whatever was changed, and its tokens and faults are gone', async () => {
    const simulator = await start({ users: 20 })
    const { tenant } = simulator
    const before = contents(tenant)
    const [user] = tenant.users()
    const [group] = tenant.groups()
    const tokens = await simulator.signIn(user?.id ?? '')
    tenant.deleteGroup(group?.id ?? '')
    tenant.deleteUser(user?.id ?? '')
    tenant.addMember(tenant.addGroup({ displayName: 'New' }).id, tenant.addUser().id)
    simulator.faults.next({ status: 500, times: Infinity })
    simulator.reset()
    expect(contents(tenant)).toStrictEqual(before)
    expect([simulator.requests.all(), simulator.issuedTokens()]).toStrictEqual([[], []])
    const answer = await fetch(`${simulator.graphUrl}/v1.0/me`, {
      headers: { authorization: `Bearer ${tokens.access_token}` },
    })
    expect(answer.status).toBe(401)
  })

  test('keeps its tokens readable over a restart of the same seed', async () => {
    const first = await start({ users: 5 })
    const { access_token: token } = await first.signIn(first.tenant.users()[0]?.id ?? '')
    const second = await start({ users: 5 })
    const answer = await fetch(`${second.graphUrl}/v1.0/me`, {
      headers: { authorization: `Bearer ${token}` },
    })
    expect(answer.status).toBe(200)
  })

  test('has every kind of group, repeated and awkward names, guests and people without mail', async () => {
    const { tenant } = await start({ users: 250 })
    const groups = tenant.groups()
    const kinds = groups.map((group) =>
      [group.groupTypes.includes('Unified'), group.mailEnabled, group.securityEnabled].join(),
    )
    expect(new Set(kinds)).toStrictEqual(
      new Set(['true,true,false', 'false,false,true', 'false,true,true', 'false,true,false']),
    )
    expect(
      groups.some((group) => group.groupTypes.includes('DynamicMembership') && group.membershipRule),
    ).toBe(true)
    expect(groups.some((group) => group.visibility === 'HiddenMembership')).toBe(true)
    const names = groups.map((group) => group.displayName ?? '')
    expect(names.filter((name) => name === 'Project Phoenix')).toHaveLength(2)
    expect(names).toContain('project phoenix')
    expect(Math.max(...names.map((name) => name.length))).toBe(256)
    expect(
      names.some((name) => /\p{Script=Han}/u.test(name)) &&
        names.some((name) => /\p{Script=Hebrew}/u.test(name)),
    ).toBe(true)
    const users = tenant.users()
    const guests = users.filter(({ userType }) => userType === 'Guest')
    expect(guests.length).toBeGreaterThan(0)
    expect(
      guests.every(({ userPrincipalName }) =>
        userPrincipalName.endsWith('_partner.example#EXT#@contoso-1.example'),
      ),
    ).toBe(true)
    expect(users.some(({ mail }) => mail === null)).toBe(true)
    expect(tenant.directoryRoles().length * tenant.administrativeUnits().length).toBeGreaterThan(0)
  })

  test('puts one user in 250 in more than 999 groups, most in 5 to 60, and exactly one in none', async () => {
    const { tenant } = await start({ users: 500 })
    const counts = tenant.users().map(({ id }) => tenant.groupsOf(id, { hidden: true }).length)
    expect(counts.filter((count) => count > 999)).toHaveLength(2)
    expect(counts.filter((count) => count === 0)).toHaveLength(1)
    expect(counts.filter((count) => count >= 5 && count <= 60).length).toBeGreaterThan(450)
  })

  test('nests several levels deep, and in one circle that ends', async () => {
    const { tenant } = await start({ users: 60 })
    const named = (name: string) => tenant.groups().find((group) => group.displayName === name)?.id ?? ''
    const newcomer = tenant.addUser({ displayName: 'Newcomer' })
    tenant.addMember(named('Location: Berlin'), newcomer.id)
    tenant.addMember(named('Platform owners'), newcomer.id)
    const inherited = tenant.groupsOf(newcomer.id).map(({ displayName }) => displayName)
    expect(new Set(inherited)).toStrictEqual(
      new Set([
        'Location: Berlin',
        'Location: Europe',
        'Location: Germany',
        'Location: Worldwide',
        'Platform operators',
        'Platform owners',
        'Platform reviewers',
      ]),
    )
    expect(inherited).toHaveLength(7)
  })

  test('cannot start on a port that is taken, and leaves nothing listening', async () => {
    const { entraUrl } = await start({ users: 0 })
    const entra = Number(new URL(entraUrl).port)
    await expect(startSimulator({ users: 0, ports: { entra } })).rejects.toThrow('EADDRINUSE')
    await expect(startSimulator({ users: 0, ports: { entraHttps: entra } })).rejects.toThrow('EADDRINUSE')
  })

  test.each([0, 1, 2, 49])('of %i users starts', async (users) => {
    const { tenant } = await start({ users })
    expect(tenant.users()).toHaveLength(users)
  })

  test.each([0, 10, 200, 1_400])('has exactly the %i groups it was asked for', async (groups) => {
    const { tenant } = await start({ users: 60, groups })
    expect(tenant.groups()).toHaveLength(groups)
  })
})

describe('changing the tenant', () => {
  test('names the id it does not know', async () => {
    const { tenant } = await start({ users: 1, groups: 1 })
    const group = tenant.groups()[0]?.id ?? ''
    expect(() => tenant.addMember('no-group', group)).toThrow('no-group')
    expect(() => tenant.addMember(group, 'no-user')).toThrow('no-user')
    expect(() => tenant.removeMember(group, 'no-member')).toThrow('no-member')
    expect(() => tenant.user('nobody@example.com')).toThrow('nobody@example.com')
    expect(() => tenant.renameGroup('gone', 'x')).toThrow('gone')
  })

  test('refuses a group in a Microsoft 365 group', async () => {
    const { tenant } = await start({ users: 0, groups: 0 })
    const unified = tenant.addGroup({ displayName: 'Team', kind: 'microsoft365' })
    const security = tenant.addGroup({ displayName: 'People' })
    expect(() => tenant.nest(unified.id, security.id)).toThrow('cannot contain group')
    tenant.nest(security.id, unified.id)
  })

  test('a deleted group leaves every list and comes back with its links', async () => {
    const { tenant } = await start({ users: 0, groups: 0 })
    const [outer, inner] = [
      tenant.addGroup({ displayName: 'Outer' }),
      tenant.addGroup({ displayName: 'Inner' }),
    ]
    const user = tenant.addUser({ displayName: 'Somebody' })
    tenant.nest(outer.id, inner.id)
    tenant.addMember(inner.id, user.id)
    expect(tenant.groupsOf(user.id)).toHaveLength(2)
    tenant.deleteGroup(inner.id)
    expect(tenant.groupsOf(user.id)).toHaveLength(0)
    tenant.restoreGroup(inner.id)
    expect(tenant.groupsOf(user.id)).toHaveLength(2)
  })

  test('what a user is in follows every change, as a search from scratch finds it', async () => {
    const { tenant } = await start({ users: 0, groups: 0 })
    const user = tenant.addUser()
    const groups = Array.from(
      { length: 7 },
      (_, index) => tenant.addGroup({ displayName: `Group ${index}` }).id,
    )
    const node = fc.nat(groups.length - 1)
    const edges = new Map<string, Set<string>>()
    const parentsOf = (id: string) => edges.get(id) ?? new Set<string>()
    const reach = (id: string, seen: Set<string>): Set<string> => {
      for (const parent of parentsOf(id)) if (!seen.has(parent)) reach(parent, seen.add(parent))
      return seen
    }
    const change = fc.record({ add: fc.boolean(), container: node, member: fc.option(node) })
    fc.assert(
      fc.property(fc.array(change, { maxLength: 40 }), (changes) => {
        for (const { add, container, member } of changes) {
          const [parent, child] = [
            groups[container] ?? '',
            member === null ? user.id : (groups[member] ?? ''),
          ]
          if (add && parent !== child) {
            tenant.addMember(parent, child)
            edges.set(child, parentsOf(child).add(parent))
          } else if (parentsOf(child).delete(parent)) tenant.removeMember(parent, child)
          const known = tenant.groupsOf(user.id).map(({ id }) => id)
          expect(known).toStrictEqual([...reach(user.id, new Set())].toSorted())
        }
      }),
    )
  })
})

test('walking pages of any size gives exactly the groups the user is in', async () => {
  const { tenant, graphUrl, signIn } = await start({ users: 60 })
  const readPage = z.object({
    value: z.array(z.object({ id: z.string() })),
    '@odata.nextLink': z.string().optional(),
  })
  const users = tenant.users()
  const truth = (id: string) => tenant.groupsOf(id).map((group) => group.id)
  await fc.assert(
    fc.asyncProperty(fc.nat(users.length - 1), fc.integer({ min: 20, max: 999 }), async (index, top) => {
      const id = users[index]?.id ?? ''
      const headers = {
        authorization: `Bearer ${(await signIn(id)).access_token}`,
        ConsistencyLevel: 'eventual',
      }
      const path = `/v1.0/me/transitiveMemberOf/microsoft.graph.group?$select=id&$count=true&$top=${top}`
      const ids: string[] = []
      for (let next: string | undefined = graphUrl + path; next !== undefined;) {
        const page = readPage.parse(await (await fetch(next, { headers })).json())
        ids.push(...page.value.map((group) => group.id))
        next = page['@odata.nextLink']
      }
      expect(ids).toStrictEqual(truth(id))
    }),
    { numRuns: 30 },
  )
})

test('a change between two pages neither skips nor repeats what it did not touch', async () => {
  const { tenant, graphUrl, signIn } = await start({ users: 0, groups: 0 })
  const user = tenant.addUser()
  const groups = Array.from(
    { length: 40 },
    (_, index) => tenant.addGroup({ displayName: `Group ${index}` }).id,
  ).toSorted()
  for (const id of groups) tenant.addMember(id, user.id)
  const headers = { authorization: `Bearer ${(await signIn(user.id)).access_token}` }
  const readPage = z.object({
    value: z.array(z.object({ id: z.string() })),
    '@odata.nextLink': z.string().optional(),
  })
  const first = readPage.parse(
    await (await fetch(`${graphUrl}/v1.0/me/memberOf?$top=20`, { headers })).json(),
  )
  tenant.removeMember(groups[3] ?? '', user.id)
  tenant.removeMember(groups[19] ?? '', user.id)
  const second = readPage.parse(await (await fetch(first['@odata.nextLink'] ?? '', { headers })).json())
  expect([...first.value, ...second.value].map(({ id }) => id)).toStrictEqual(groups)
})
