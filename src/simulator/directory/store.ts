import { randomFrom, type Random } from '../random.ts'
import { createJournal, type Journal } from './journal.ts'
import { createMemberships, type Links, type Memberships } from './memberships.ts'
import type { AdministrativeUnit, Container, DirectoryRole, Group, OtherMember, User } from './objects.ts'

/** Everything one simulated tenant holds. The HTTP side reads it; only the `Tenant` API changes it. */
export type Directory = {
  readonly tenantId: string
  /** The verified domain: part of every member's user principal name, and accepted in place of the tenant id. */
  readonly domain: string
  readonly displayName: string
  readonly users: Table<User>
  readonly groups: Table<Group>
  readonly roles: Table<DirectoryRole>
  readonly units: Table<AdministrativeUnit>
  readonly others: Table<OtherMember>
  readonly memberships: Memberships
  readonly userIdsByName: Map<string, string>
  /** Soft-deleted, and restorable with their links. */
  readonly deletedUsers: Table<Deleted<User>>
  readonly deletedGroups: Table<Deleted<Group>>
  /** What changed since the tenant was filled. */
  readonly journal: Journal
  /** Feeds ids of objects made after the seed, so that a test's ids repeat too. */
  random: Random
}

export type Deleted<T> = Links & { object: T }

/** Objects of one type by id, with the id order that pages are cut from. */
export type Table<T> = {
  get(id: string): T | undefined
  set(id: string, value: T): void
  delete(id: string): boolean
  values(): T[]
  readonly size: number
  /** All ids, sorted; kept until an object is added or deleted. */
  ids(): readonly string[]
  clear(): void
}

/** Makes an empty tenant; `seed` names it when `tenantId` does not. */
export function createDirectory(
  seed: number,
  tenantId?: string,
  { domain, displayName }: { domain?: string | undefined; displayName?: string | undefined } = {},
): Directory {
  const units = createTable<AdministrativeUnit>()
  return {
    tenantId: tenantId ?? randomFrom(seed, 'tenant').uuid(),
    domain: domain?.toLowerCase() ?? `contoso-${seed}.example`,
    displayName: displayName ?? 'Contoso',
    users: createTable<User>(),
    groups: createTable<Group>(),
    roles: createTable<DirectoryRole>(),
    units,
    others: createTable<OtherMember>(),
    memberships: createMemberships((containerId) => units.get(containerId) === undefined),
    userIdsByName: new Map(),
    deletedUsers: createTable<Deleted<User>>(),
    deletedGroups: createTable<Deleted<Group>>(),
    journal: createJournal(),
    random: randomFrom(seed, 'objects'),
  }
}

/** Empties the tenant and starts its sequence of ids again. */
export function clearDirectory(directory: Directory, seed: number): void {
  const {
    users,
    groups,
    roles,
    units,
    others,
    deletedUsers,
    deletedGroups,
    memberships,
    userIdsByName,
    journal,
  } = directory
  for (const kept of [users, groups, roles, units, others, deletedUsers, deletedGroups]) kept.clear()
  for (const kept of [memberships, userIdsByName, journal]) kept.clear()
  directory.random = randomFrom(seed, 'objects')
}

/** Finds a user by object id or user principal name, the two keys Graph takes in `/users/{key}`. */
export function findUser(directory: Directory, key: string): User | undefined {
  const name = key.toLowerCase()
  return directory.users.get(name) ?? directory.users.get(directory.userIdsByName.get(name) ?? '')
}

/** Whoever can be in a group. */
export function findMember(directory: Directory, id: string): User | Group | OtherMember | undefined {
  return directory.users.get(id) ?? directory.groups.get(id) ?? directory.others.get(id)
}

export function findContainer(directory: Directory, id: string): Container | undefined {
  return directory.groups.get(id) ?? directory.roles.get(id) ?? directory.units.get(id)
}

/** As `findUser`, for who must know the user. */
export function userIn(directory: Directory, key: string): User {
  return findUser(directory, key) ?? unknown('user', key)
}

export function groupIn(directory: Directory, id: string): Group {
  return directory.groups.get(id) ?? unknown('group', id)
}

/** Ends what names something the tenant doesn't have. */
export function unknown(what: string, id: string): never {
  throw new Error(`no such ${what} in the simulated tenant: ${id}`)
}

function createTable<T>(): Table<T> {
  const rows = new Map<string, T>()
  let sorted: readonly string[] | undefined
  return {
    get: (id) => rows.get(id),
    set(id, value) {
      if (!rows.has(id)) sorted = undefined
      rows.set(id, value)
    },
    delete(id) {
      sorted = undefined
      return rows.delete(id)
    },
    values: () => [...rows.values()],
    get size() {
      return rows.size
    },
    ids: () => (sorted ??= [...rows.keys()].toSorted()),
    clear() {
      rows.clear()
      sorted = undefined
    },
  }
}
