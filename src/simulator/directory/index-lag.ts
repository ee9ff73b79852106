import type { Memberships } from './memberships.ts'
import type { User } from './objects.ts'
import { createDirectory, type Directory, type Table } from './store.ts'

/**
 * How far the index behind `ConsistencyLevel: eventual` is behind the directory (Graph docs: aad-advanced-queries, "might
 * not be up to date with recent changes"). Other reads, and whether a token's user exists, never lag.
 */
export type IndexLag = {
  /** From now on the index takes nothing in, until `catchUp`. */
  hold(): void
  /** Takes in everything changed so far, and ends a hold. */
  catchUp(): void
  /** From now on changes are taken in this long after they are made, by the simulator's clock; 0 is at once. */
  set(milliseconds: number): void
}

export type DirectoryIndex = IndexLag & {
  /** The directory to write to: the index learns of changes made through it, and of no others. */
  source: Directory
  /** What the index knows now. Not to be written to. */
  current(): Directory
}

type Change = { at: number; apply: (index: Directory) => void }

/** Starts without a lag, which costs nothing: a copy is made when a lag begins. */
export function createDirectoryIndex(directory: Directory, now: () => number): DirectoryIndex {
  let index: Directory | undefined
  let pending: Change[] = []
  let lag = 0
  let held = false
  const takeIn = (until: number): void => {
    const due = pending.findIndex(({ at }) => at > until)
    for (const { apply } of pending.splice(0, due < 0 ? pending.length : due)) if (index) apply(index)
  }
  const begin = (): void => {
    index ??= copyOf(directory)
  }
  const settle = (): void => {
    if (lag === 0 && !held) {
      index = undefined
      pending = []
    } else begin()
  }
  return {
    source: journaled(directory, (apply) => {
      if (index) pending.push({ at: now(), apply })
    }),
    current() {
      if (index && !held) takeIn(now() - lag)
      return index ?? directory
    },
    hold() {
      begin()
      if (!held) takeIn(now() - lag)
      held = true
    },
    catchUp() {
      held = false
      takeIn(Infinity)
      settle()
    },
    set(milliseconds) {
      if (!held) takeIn(now() - lag)
      lag = milliseconds
      settle()
    },
  }
}

function copyOf(directory: Directory): Directory {
  const copy = { ...createDirectory(0, directory.tenantId), journal: directory.journal.copy() }
  const { users, groups, roles, units, others, deletedUsers, deletedGroups, memberships } = directory
  for (const user of users.values()) saveUser(copy, user)
  for (const group of groups.values()) copy.groups.set(group.id, group)
  for (const role of roles.values()) copy.roles.set(role.id, role)
  for (const unit of units.values()) copy.units.set(unit.id, unit)
  for (const other of others.values()) copy.others.set(other.id, other)
  for (const each of deletedUsers.values()) copy.deletedUsers.set(each.object.id, each)
  for (const each of deletedGroups.values()) copy.deletedGroups.set(each.object.id, each)
  for (const table of [groups, roles, units])
    for (const id of table.ids())
      for (const member of memberships.membersOf(id)) copy.memberships.add(id, member)
  return copy
}

/** The same directory, with every change passed on as one that can be made to a copy too. */
function journaled(directory: Directory, pass: (apply: Change['apply']) => void): Directory {
  return {
    ...directory,
    get random() {
      return directory.random
    },
    users: journaledTable(directory.users, {
      set: (_, user) => pass((index) => saveUser(index, user)),
      delete: (id) => pass((index) => dropUser(index, id)),
    }),
    groups: journaledTable(directory.groups, {
      set: (id, group) => pass((index) => index.groups.set(id, group)),
      delete: (id) => pass((index) => void index.groups.delete(id)),
    }),
    roles: journaledTable(directory.roles, {
      set: (id, role) => pass((index) => index.roles.set(id, role)),
      delete: (id) => pass((index) => void index.roles.delete(id)),
    }),
    units: journaledTable(directory.units, {
      set: (id, unit) => pass((index) => index.units.set(id, unit)),
      delete: (id) => pass((index) => void index.units.delete(id)),
    }),
    others: journaledTable(directory.others, {
      set: (id, other) => pass((index) => index.others.set(id, other)),
      delete: (id) => pass((index) => void index.others.delete(id)),
    }),
    deletedUsers: journaledTable(directory.deletedUsers, {
      set: (id, user) => pass((index) => index.deletedUsers.set(id, user)),
      delete: (id) => pass((index) => void index.deletedUsers.delete(id)),
    }),
    deletedGroups: journaledTable(directory.deletedGroups, {
      set: (id, group) => pass((index) => index.deletedGroups.set(id, group)),
      delete: (id) => pass((index) => void index.deletedGroups.delete(id)),
    }),
    memberships: journaledMemberships(directory.memberships, pass),
    journal: {
      ...directory.journal,
      mark(mark) {
        directory.journal.mark(mark)
        pass((index) => index.journal.mark(mark))
      },
    },
  }
}

function journaledTable<T>(
  table: Table<T>,
  changed: { set(id: string, value: T): void; delete(id: string): void },
): Table<T> {
  return {
    ...table,
    get size() {
      return table.size
    },
    set(id, value) {
      table.set(id, value)
      changed.set(id, value)
    },
    delete(id) {
      changed.delete(id)
      return table.delete(id)
    },
  }
}

function journaledMemberships(memberships: Memberships, pass: (apply: Change['apply']) => void): Memberships {
  return {
    ...memberships,
    add(containerId, memberId) {
      memberships.add(containerId, memberId)
      pass((index) => index.memberships.add(containerId, memberId))
    },
    remove(containerId, memberId) {
      pass((index) => void index.memberships.remove(containerId, memberId))
      return memberships.remove(containerId, memberId)
    },
    detach(id) {
      pass((index) => void index.memberships.detach(id))
      return memberships.detach(id)
    },
  }
}

function saveUser(index: Directory, user: User): void {
  dropUser(index, user.id)
  index.users.set(user.id, user)
  index.userIdsByName.set(user.userPrincipalName.toLowerCase(), user.id)
}

function dropUser(index: Directory, id: string): void {
  const before = index.users.get(id)
  if (before) index.userIdsByName.delete(before.userPrincipalName.toLowerCase())
  index.users.delete(id)
}
