import { groupOf, type NewGroup } from './new-group.ts'
import { userOf, type NewUser } from './new-user.ts'
import type { AdministrativeUnit, Container, DirectoryRole, Group, User } from './objects.ts'
import { findContainer, findUser, type Directory } from './store.ts'

/** The administrator's side of the simulated tenant. Every method throws an error naming an id it does not know. */
export type Tenant = {
  readonly id: string
  readonly domain: string
  users(): User[]
  groups(): Group[]
  directoryRoles(): DirectoryRole[]
  administrativeUnits(): AdministrativeUnit[]
  user(idOrUserPrincipalName: string): User
  group(id: string): Group
  addUser(wanted?: NewUser): User
  updateUser(id: string, changes: Partial<Omit<User, 'id' | '@odata.type'>>): User
  deleteUser(id: string): void
  addGroup(wanted: NewGroup): Group
  updateGroup(id: string, changes: Partial<Omit<Group, 'id' | '@odata.type'>>): Group
  /** Entra itself cannot clear a name; `null` provokes the answer of a reader without permission. */
  renameGroup(id: string, displayName: string | null): Group
  /** Soft deletion: the group leaves every answer and can be restored with its links. */
  deleteGroup(id: string): void
  restoreGroup(id: string): Group
  addDirectoryRole(wanted: {
    displayName: string
    roleTemplateId?: string
    description?: string
  }): DirectoryRole
  addAdministrativeUnit(wanted: { displayName: string; description?: string }): AdministrativeUnit
  /** Adds a user or a group to a group, directory role or administrative unit; adding twice changes nothing. */
  addMember(containerId: string, memberId: string): void
  removeMember(containerId: string, memberId: string): void
  nest(parentId: string, childId: string): void
  /**
   * The truth to compare a reader's result with: the groups a user is in, sorted by id. Transitive unless told
   * otherwise, and without groups of hidden membership unless `hidden`, as the default app sees them.
   */
  groupsOf(userId: string, options?: { transitive?: boolean; hidden?: boolean }): Group[]
}

const createdDateTime = '2024-01-15T09:30:00Z'

/** The only writer of a directory. */
export function tenantOf(directory: Directory): Tenant {
  const { users, groups, roles, units } = directory
  return {
    id: directory.tenantId,
    domain: directory.domain,
    users: () => users.values(),
    groups: () => groups.values(),
    directoryRoles: () => roles.values(),
    administrativeUnits: () => units.values(),
    user: (key) => userIn(directory, key),
    group: (id) => groupIn(directory, id),
    ...userChanges(directory),
    ...groupChanges(directory),
    ...administration(directory),
    ...links(directory),
  }
}

type Part<Name extends keyof Tenant> = Pick<Tenant, Name>

function userChanges(directory: Directory): Part<'addUser' | 'updateUser' | 'deleteUser'> {
  const { users, userIdsByName, memberships } = directory
  const save = (saved: User): User => {
    const name = saved.userPrincipalName.toLowerCase()
    const holder = userIdsByName.get(name)
    if (holder !== undefined && holder !== saved.id)
      throw new Error(`${saved.userPrincipalName} is taken by ${holder}`)
    const before = users.get(saved.id)
    if (before) userIdsByName.delete(before.userPrincipalName.toLowerCase())
    userIdsByName.set(name, saved.id)
    users.set(saved.id, saved)
    return saved
  }
  return {
    addUser: (wanted = {}) =>
      save(userOf(wanted.id ?? directory.random.uuid(), directory.domain, createdDateTime, wanted)),
    updateUser: (id, changes) => save({ ...userIn(directory, id), ...changes }),
    deleteUser(key) {
      const { id, userPrincipalName } = userIn(directory, key)
      memberships.detach(id)
      userIdsByName.delete(userPrincipalName.toLowerCase())
      users.delete(id)
    },
  }
}

function groupChanges(
  directory: Directory,
): Part<'addGroup' | 'updateGroup' | 'renameGroup' | 'deleteGroup' | 'restoreGroup'> {
  const { users, groups, deletedGroups, memberships } = directory
  const save = (saved: Group): Group => {
    groups.set(saved.id, saved)
    return saved
  }
  return {
    addGroup: (wanted) =>
      save(groupOf(wanted.id ?? directory.random.uuid(), directory.domain, createdDateTime, wanted)),
    updateGroup: (id, changes) => save({ ...groupIn(directory, id), ...changes }),
    renameGroup: (id, displayName) => save({ ...groupIn(directory, id), displayName }),
    deleteGroup(id) {
      const group = groupIn(directory, id)
      deletedGroups.set(id, { group, ...memberships.detach(id) })
      groups.delete(id)
    },
    restoreGroup(id) {
      const deleted = deletedGroups.get(id) ?? unknown('deleted group', id)
      deletedGroups.delete(id)
      groups.set(id, deleted.group)
      for (const each of deleted.containers) if (findContainer(directory, each)) memberships.add(each, id)
      for (const each of deleted.members) if (users.get(each) ?? groups.get(each)) memberships.add(id, each)
      return deleted.group
    },
  }
}

function administration(directory: Directory): Part<'addDirectoryRole' | 'addAdministrativeUnit'> {
  return {
    addDirectoryRole(wanted) {
      const role: DirectoryRole = {
        '@odata.type': '#microsoft.graph.directoryRole',
        id: directory.random.uuid(),
        deletedDateTime: null,
        description: wanted.description ?? wanted.displayName,
        displayName: wanted.displayName,
        roleTemplateId: wanted.roleTemplateId ?? directory.random.uuid(),
      }
      directory.roles.set(role.id, role)
      return role
    },
    addAdministrativeUnit(wanted) {
      const unit: AdministrativeUnit = {
        '@odata.type': '#microsoft.graph.administrativeUnit',
        id: directory.random.uuid(),
        deletedDateTime: null,
        displayName: wanted.displayName,
        description: wanted.description ?? null,
        visibility: null,
      }
      directory.units.set(unit.id, unit)
      return unit
    },
  }
}

function links(directory: Directory): Part<'addMember' | 'removeMember' | 'nest' | 'groupsOf'> {
  const { users, groups, memberships } = directory
  const addMember = (containerId: string, memberId: string): void => {
    const container = findContainer(directory, containerId) ?? unknown('group', containerId)
    const member = users.get(memberId) ?? groups.get(memberId) ?? unknown('member', memberId)
    assertCanContain(container, member)
    memberships.add(container.id, member.id)
  }
  return {
    addMember,
    removeMember(containerId, memberId) {
      if (!findContainer(directory, containerId)) unknown('group', containerId)
      if (!memberships.remove(containerId, memberId)) unknown(`member of ${containerId}`, memberId)
    },
    nest: (parentId, childId) => addMember(groupIn(directory, parentId).id, groupIn(directory, childId).id),
    groupsOf(userId, { transitive = true, hidden = false } = {}) {
      const { id } = userIn(directory, userId)
      const ids = transitive ? memberships.transitive(id) : memberships.direct(id)
      const found = ids.flatMap((each) => groups.get(each) ?? [])
      return hidden ? found : found.filter((each) => !hasHiddenMembership(each))
    },
  }
}

/** Whether only readers with Member.Read.Hidden may see who is in this group (Graph docs: resources/group). */
export function hasHiddenMembership(group: Group): boolean {
  return group.visibility === 'HiddenMembership'
}

function userIn(directory: Directory, key: string): User {
  return findUser(directory, key) ?? unknown('user', key)
}

function groupIn(directory: Directory, id: string): Group {
  return directory.groups.get(id) ?? unknown('group', id)
}

function assertCanContain(container: Container, member: User | Group): void {
  if (member['@odata.type'] !== '#microsoft.graph.group') return
  if (container['@odata.type'] === '#microsoft.graph.group' && container.groupTypes.includes('Unified'))
    throw new Error(`Microsoft 365 group ${container.id} cannot contain group ${member.id}`)
  if (container['@odata.type'] === '#microsoft.graph.directoryRole' && member.isAssignableToRole !== true)
    throw new Error(`group ${member.id} is not assignable to roles, so it cannot be in role ${container.id}`)
}

function unknown(what: string, id: string): never {
  throw new Error(`no such ${what} in the simulated tenant: ${id}`)
}
