import fc from 'fast-check'
import { afterAll, beforeEach, describe, expect, test } from 'vitest'
import { createDirectoryIndex } from '../src/simulator/directory/index-lag.ts'
import { createDirectory, type Directory } from '../src/simulator/directory/store.ts'
import { tenantOf } from '../src/simulator/directory/tenant.ts'
import { startSimulator, type Group, type Simulator, type User } from '../src/simulator/index.ts'
import { groupPage } from './support/graph-answers.ts'
import { targetFor } from './support/graph-member.ts'
import { ask, cast, eventual, type Target } from './support/graph-requests.ts'

let now = Date.now()
const simulator: Simulator = await startSimulator({ users: 0, groups: 0, https: false, now: () => now })
let user: User
let group: Group
let target: Target

const idsAt = async (path: string, headers: Record<string, string> = {}) =>
  groupPage.parse((await ask(target, path, { headers })).json).value.map(({ id }) => id)
const indexed = () => idsAt(`${cast}?$select=id&$count=true`, eventual)
const direct = () => idsAt('/me/memberOf')

beforeEach(async () => {
  simulator.reset()
  user = simulator.tenant.addUser()
  group = simulator.tenant.addGroup({ displayName: 'Before' })
  target = await targetFor(simulator, user)
})
afterAll(() => simulator.close())

describe('reads with ConsistencyLevel eventual', () => {
  test('show no change while the index is held, and every change once it has caught up', async () => {
    simulator.tenant.addMember(group.id, user.id)
    simulator.lag.hold()
    const later = simulator.tenant.addGroup({ displayName: 'Later' })
    simulator.tenant.addMember(later.id, user.id)
    simulator.tenant.removeMember(group.id, user.id)
    expect([await indexed(), await direct()]).toStrictEqual([[group.id], [later.id]])
    simulator.lag.catchUp()
    expect([await indexed(), await direct()]).toStrictEqual([[later.id], [later.id]])
  })

  test('show a change when it is as old as the lag', async () => {
    simulator.lag.set(60_000)
    simulator.tenant.addMember(group.id, user.id)
    now += 59_999
    expect([await indexed(), await direct()]).toStrictEqual([[], [group.id]])
    now += 1
    expect(await indexed()).toStrictEqual([group.id])
  })

  test('do not know somebody who was only just made', async () => {
    simulator.lag.hold()
    target = await targetFor(simulator, simulator.tenant.addUser())
    expect((await ask(target, '/me')).status).toBe(200)
    expect((await ask(target, `${cast}?$count=true`, { headers: eventual })).status).toBe(404)
  })

  test('lag from the start and after a reset where the simulator was started so', async () => {
    const lagging = await startSimulator({
      users: 1,
      groups: 0,
      https: false,
      indexLagMs: 1000,
      now: () => now,
    })
    for (const round of ['start', 'reset']) {
      const somebody = lagging.tenant.users()[0] ?? lagging.tenant.addUser()
      target = await targetFor(lagging, somebody)
      const before = await indexed()
      const { id } = lagging.tenant.addGroup({ displayName: round })
      lagging.tenant.addMember(id, somebody.id)
      expect(await indexed()).toStrictEqual(before)
      now += 1000
      expect(await indexed()).toStrictEqual([...before, id].toSorted())
      lagging.reset()
    }
    await lagging.close()
  })
})

test('an index shows the directory exactly as it was its lag ago', () => {
  const dump = (directory: Directory) =>
    JSON.stringify([
      directory.users.values().toSorted((a, b) => a.id.localeCompare(b.id)),
      directory.groups.values().toSorted((a, b) => a.id.localeCompare(b.id)),
      [...directory.userIdsByName].toSorted(),
      directory.users.ids().map((id) => directory.memberships.transitive(id)),
      directory.groups.ids().map((id) => directory.memberships.membersOf(id)),
    ])
  const step = fc.record({
    what: fc.constantFrom(0, 1, 2, 3, 3, 3, 3, 4, 4, 5, 6, 7, 8),
    one: fc.nat(),
    other: fc.nat(),
  })
  fc.assert(
    fc.property(
      fc.integer({ min: 1, max: 8 }),
      fc.array(step, { minLength: 60, maxLength: 120 }),
      (lag, steps) => {
        let at = 0
        const directory = createDirectory(1)
        const index = createDirectoryIndex(directory, () => at)
        const tenant = tenantOf(index.source)
        const deleted: string[] = []
        index.set(lag)
        const past = [dump(directory)]
        for (const { what, one, other } of steps) {
          at += 1
          const pick = <T>(list: readonly T[], by: number): T | undefined =>
            list[by % Math.max(1, list.length)]
          const someone = pick(tenant.users(), one)
          const some = pick(tenant.groups(), one)
          const more = pick(tenant.groups(), other)
          if (what === 0) tenant.addUser()
          if (what <= 2) tenant.addGroup({ displayName: 'x' })
          if (what === 3 && someone && more) tenant.addMember(more.id, someone.id)
          if (what === 4 && some && more) tenant.nest(some.id, more.id)
          if (what === 5 && some) {
            tenant.deleteGroup(some.id)
            deleted.push(some.id)
          }
          if (what === 6 && deleted.length > 0) tenant.restoreGroup(deleted.pop() ?? '')
          if (what === 7 && someone) tenant.updateUser(someone.id, { userPrincipalName: `u${at}@x.example` })
          if (what === 8 && someone) {
            const [member] = tenant.groupsOf(someone.id, { transitive: false })
            if (member) tenant.removeMember(member.id, someone.id)
            else tenant.deleteUser(someone.id)
          }
          past.push(dump(directory))
          expect(dump(index.current())).toBe(past[Math.max(0, at - lag)])
        }
        index.catchUp()
        expect(dump(index.current())).toBe(past.at(-1))
      },
    ),
    { numRuns: 60 },
  )
})
