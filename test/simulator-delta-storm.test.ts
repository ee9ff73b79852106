import { afterAll, expect, test } from 'vitest'
import { startSimulator, type DeltaSettings, type Simulator } from '../src/simulator/index.ts'
import { appOnly } from './support/app-only.ts'
import { livePeople, nothingKnown, readRound, take, truth } from './support/delta-rounds.ts'

const simulator: Simulator = await startSimulator({ users: 30, groups: 40, https: false })
afterAll(() => simulator.close())

const troubles: [string, DeltaSettings][] = [
  ['behaves', {}],
  ['cuts small pages', { pageSize: 3, membersPerPage: 2 }],
  ['tells what changed only', { properties: 'changed', pageSize: 7 }],
  ['has empty pages', { emptyPages: 2, pageSize: 40 }],
  ['repeats entries', { repeats: 5, pageSize: 4, membersPerPage: 3 }],
  ['replays older changes', { replays: 40, pageSize: 10, membersPerPage: 1 }],
  ['tells who left at first', { removedAtFirst: true, pageSize: 5 }],
]

test.each(troubles)('a client that merges by id knows the directory where Graph %s', async (_, settings) => {
  simulator.reset()
  simulator.delta.set(settings)
  const on = await appOnly(simulator, ['User.Read.All', 'GroupMember.Read.All', 'Member.Read.Hidden'])
  const [people, groups] = [nothingKnown(), nothingKnown()]
  let links = {
    users: '/users/delta?$select=displayName',
    groups: '/groups/delta?$select=displayName,members',
  }
  simulator.tenant.mutate(99, 200)
  for (let round = 0; round < 6; round++) {
    let page = 0
    // Changes go on while a round is read; the last round is read in peace.
    const between = () => {
      page += 1
      if (round < 5 && page <= 8) simulator.tenant.mutate(round * 100 + page, 12)
    }
    const readUsers = await readRound(on, links.users, between)
    const readGroups = await readRound(on, links.groups, between)
    take(people, readUsers.entries)
    take(groups, readGroups.entries)
    links = { users: readUsers.deltaLink, groups: readGroups.deltaLink }
  }
  const expected = truth(simulator)
  expect(people.names).toStrictEqual(expected.users)
  expect(livePeople(groups, expected.users)).toStrictEqual(livePeople(expected.groups, expected.users))
})

test('a client of a lagging Graph knows the directory as it was, and all of it once Graph has caught up', async () => {
  simulator.reset()
  simulator.delta.set({ pageSize: 9, membersPerPage: 4 })
  const on = await appOnly(simulator, ['GroupMember.Read.All', 'Member.Read.Hidden'])
  const groups = nothingKnown()
  let link = '/groups/delta?$select=displayName,members'
  for (let round = 0; round < 4; round++) {
    simulator.delta.lag.hold()
    const { users, groups: before } = truth(simulator)
    simulator.tenant.mutate(round, 80)
    const { entries, deltaLink } = await readRound(on, link)
    take(groups, entries)
    expect(groups.names).toStrictEqual(before.names)
    expect(livePeople(groups, users)).toStrictEqual(livePeople(before, users))
    link = deltaLink
    simulator.delta.lag.catchUp()
  }
  take(groups, (await readRound(on, link)).entries)
  const { users, groups: now } = truth(simulator)
  expect(livePeople(groups, users)).toStrictEqual(livePeople(now, users))
})

test('a storm does the same again from the same seed, and something else from another', () => {
  const storm = (seed: number) => {
    simulator.reset()
    const done = simulator.tenant.mutate(seed, 500)
    return { done, now: truth(simulator) }
  }
  const [first, again, other] = [storm(7), storm(7), storm(8)]
  expect(first.done).toHaveLength(500)
  expect(new Set(first.done.map(({ what }) => what)).size).toBe(13)
  expect(again).toStrictEqual(first)
  expect(other.now).not.toStrictEqual(first.now)
})
