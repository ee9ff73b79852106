import { randomFrom, type Random } from '../random.ts'
import type { Directory } from './store.ts'
import type { Tenant } from './tenant.ts'

/** One change of a storm; `other` is the member or the nested group. */
export type Mutation = { what: MutationName; id: string; other?: string }

/** How often each happens, in relation to the others. */
const shares = {
  'add member': 34,
  'remove member': 26,
  nest: 4,
  'rename user': 6,
  'rename group': 8,
  'add user': 3,
  'add group': 3,
  'delete user': 3,
  'delete group': 3,
  'restore user': 3,
  'restore group': 3,
  'purge user': 2,
  'purge group': 2,
} as const

export type MutationName = keyof typeof shares

const names = Object.entries(shares).flatMap(([name, share]) => Array.from({ length: share }, () => name))

type Storm = {
  tenant: Tenant
  directory: Directory
  random: Random
  users: Pool
  groups: Pool
}

/**
 * Changes a tenant at random: the same seed does the same to the same tenant. Beyond one look at all ids a change costs
 * what it costs by itself, however large the tenant is. Returns what was done, as many as asked for.
 */
export function mutate(tenant: Tenant, directory: Directory, seed: number, count: number): Mutation[] {
  const storm: Storm = {
    tenant,
    directory,
    random: randomFrom(seed, 'mutations'),
    users: poolOf(directory.users.ids()),
    groups: poolOf(directory.groups.ids()),
  }
  const done: Mutation[] = []
  // What isn't possible is passed over, and a tenant in which nothing is possible ends the storm.
  for (let tries = 0; done.length < count && tries < count * 50 + 50; tries++) {
    const name = storm.random.pick(names)
    const mutation = linkStep(storm, name) ?? objectStep(storm, name)
    if (mutation) done.push(mutation)
  }
  return done
}

function linkStep({ tenant, directory, random, users, groups }: Storm, name: string): Mutation | undefined {
  const id = groups.pick(random)
  if (id === undefined) return undefined
  const { memberships } = directory
  if (name === 'add member' || name === 'nest') {
    const other = (name === 'nest' ? groups : users).pick(random)
    if (other === undefined || other === id || memberships.has(id, other)) return undefined
    if (name === 'nest' && tenant.group(id).groupTypes.includes('Unified')) return undefined
    tenant.addMember(id, other)
    return { what: name, id, other }
  }
  if (name !== 'remove member') return undefined
  const other = users.pick(random)
  const containers = other === undefined ? [] : memberships.direct(other)
  const from = containers.filter((container) => directory.groups.get(container))
  if (other === undefined || from.length === 0) return undefined
  const left = random.pick(from)
  tenant.removeMember(left, other)
  return { what: name, id: left, other }
}

function objectStep(storm: Storm, name: string): Mutation | undefined {
  const { tenant, random, users, groups } = storm
  switch (name) {
    case 'rename user': {
      const id = users.pick(random)
      if (id === undefined) return undefined
      tenant.updateUser(id, { displayName: `Renamed ${random.integer(1_000_000)}` })
      return { what: name, id }
    }
    case 'rename group': {
      const id = groups.pick(random)
      if (id === undefined) return undefined
      tenant.renameGroup(id, `Renamed ${random.integer(1_000_000)}`)
      return { what: name, id }
    }
    case 'add user': {
      const { id } = tenant.addUser({ id: random.uuid() })
      users.add(id)
      return { what: name, id }
    }
    case 'add group': {
      const { id } = tenant.addGroup({ id: random.uuid(), displayName: `Group ${random.integer(1_000_000)}` })
      groups.add(id)
      return { what: name, id }
    }
    default:
      return deletionStep(storm, name)
  }
}

function deletionStep(storm: Storm, name: string): Mutation | undefined {
  const { tenant, directory, random } = storm
  const isUser = name.endsWith('user')
  const pool = isUser ? storm.users : storm.groups
  const deleted = isUser ? directory.deletedUsers : directory.deletedGroups
  if (name === 'delete user' || name === 'delete group') {
    const id = pool.take(random)
    if (id === undefined) return undefined
    if (isUser) tenant.deleteUser(id)
    else tenant.deleteGroup(id)
    return { what: name, id }
  }
  const waiting = deleted.ids()
  if (waiting.length === 0) return undefined
  const id = random.pick(waiting)
  switch (name) {
    case 'restore user':
      tenant.restoreUser(id)
      pool.add(id)
      return { what: name, id }
    case 'restore group':
      tenant.restoreGroup(id)
      pool.add(id)
      return { what: name, id }
    case 'purge user':
      tenant.purgeUser(id)
      return { what: name, id }
    case 'purge group':
      tenant.purgeGroup(id)
      return { what: name, id }
    default:
      return undefined
  }
}

/** Ids to draw from, without sorting them anew at each change. */
type Pool = {
  pick(random: Random): string | undefined
  take(random: Random): string | undefined
  add(id: string): void
}

function poolOf(ids: readonly string[]): Pool {
  const held = [...ids]
  return {
    pick: (random) => (held.length === 0 ? undefined : random.pick(held)),
    take(random) {
      if (held.length === 0) return undefined
      const at = random.integer(held.length)
      const taken = held[at]
      held[at] = held.at(-1) ?? ''
      held.pop()
      return taken
    },
    add: (id) => void held.push(id),
  }
}
