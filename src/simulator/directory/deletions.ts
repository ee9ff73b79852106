import type { MemberType } from './journal.ts'
import type { Group, User } from './objects.ts'
import {
  findContainer,
  findMember,
  groupIn,
  unknown,
  userIn,
  type Deleted,
  type Directory,
  type Table,
} from './store.ts'

export type Deletions = {
  deleteUser(id: string): void
  restoreUser(id: string): User
  purgeUser(id: string): void
  deleteGroup(id: string): void
  restoreGroup(id: string): Group
  purgeGroup(id: string): void
}

/**
 * What leaves the tenant, softly or for good. A soft deletion and a restore are no changes of the groups somebody is in: who
 * is softly deleted keeps the memberships and leaves them with the purge (Graph docs: delta-query-groups).
 */
export function deletions(directory: Directory): Deletions {
  const { users, groups, deletedUsers, deletedGroups, memberships, userIdsByName, journal } = directory
  const purge = <T extends User | Group>(
    table: Table<Deleted<T>>,
    { object, containers }: Deleted<T>,
  ): void => {
    table.delete(object.id)
    for (const container of containers) markLink(directory, container, object.id, object['@odata.type'])
  }
  const deleteUser = (key: string): void => {
    const object = userIn(directory, key)
    deletedUsers.set(object.id, { object, ...memberships.detach(object.id) })
    userIdsByName.delete(object.userPrincipalName.toLowerCase())
    users.delete(object.id)
    journal.mark({ what: 'user', id: object.id, properties: undefined })
  }
  const deleteGroup = (id: string): void => {
    const object = groupIn(directory, id)
    deletedGroups.set(id, { object, ...memberships.detach(id) })
    groups.delete(id)
    journal.mark({ what: 'group', id, properties: undefined })
  }
  return {
    deleteUser,
    restoreUser(id) {
      const { object, ...links } = deletedUsers.get(id) ?? unknown('deleted user', id)
      saveUser(directory, object)
      deletedUsers.delete(id)
      relink(directory, id, links)
      journal.mark({ what: 'user', id, properties: undefined, restored: true })
      return object
    },
    purgeUser(id) {
      if (users.get(id)) deleteUser(id)
      purge(deletedUsers, deletedUsers.get(id) ?? unknown('user', id))
      journal.mark({ what: 'user', id, properties: undefined })
    },
    deleteGroup,
    restoreGroup(id) {
      const { object, ...links } = deletedGroups.get(id) ?? unknown('deleted group', id)
      groups.set(id, object)
      deletedGroups.delete(id)
      relink(directory, id, links)
      journal.mark({ what: 'group', id, properties: undefined, restored: true })
      return object
    },
    purgeGroup(id) {
      if (groups.get(id)) deleteGroup(id)
      purge(deletedGroups, deletedGroups.get(id) ?? unknown('group', id))
      journal.mark({ what: 'group', id, properties: undefined })
    },
  }
}

/** Refuses a user principal name that somebody else has. */
export function saveUser({ users, userIdsByName }: Directory, user: User): void {
  const name = user.userPrincipalName.toLowerCase()
  const holder = userIdsByName.get(name)
  if (holder !== undefined && holder !== user.id)
    throw new Error(`${user.userPrincipalName} is taken by ${holder}`)
  const before = users.get(user.id)
  if (before) userIdsByName.delete(before.userPrincipalName.toLowerCase())
  userIdsByName.set(name, user.id)
  users.set(user.id, user)
}

/** Notes that a group got or lost a member; roles and units are in no delta query of groups. */
export function markLink(
  directory: Directory,
  containerId: string,
  memberId: string,
  gone?: MemberType,
): void {
  const { groups, deletedGroups, journal } = directory
  if (!groups.get(containerId) && !deletedGroups.get(containerId)) return
  const type = gone ?? findMember(directory, memberId)?.['@odata.type'] ?? unknown('member', memberId)
  journal.mark({ what: 'member', id: containerId, member: memberId, type })
}

/** Whether somebody is in a group as delta queries see it, which those who are softly deleted still are. */
export function isDirectMember(directory: Directory, groupId: string, memberId: string): boolean {
  const deleted = directory.deletedUsers.get(memberId) ?? directory.deletedGroups.get(memberId)
  return deleted?.containers.includes(groupId) ?? directory.memberships.has(groupId, memberId)
}

type LinksOf = Omit<Deleted<unknown>, 'object'>

/** Puts links back. Where the other end is softly deleted itself they come back with it. */
function relink(directory: Directory, id: string, { containers, members }: LinksOf): void {
  const { deletedUsers, deletedGroups, memberships } = directory
  for (const container of containers) {
    if (findContainer(directory, container)) memberships.add(container, id)
    else keep(deletedGroups, container, { members: [id], containers: [] })
  }
  for (const member of members) {
    if (findMember(directory, member)) memberships.add(id, member)
    else if (deletedUsers.get(member)) keep(deletedUsers, member, { members: [], containers: [id] })
    else keep(deletedGroups, member, { members: [], containers: [id] })
  }
}

function keep<T>(table: Table<Deleted<T>>, id: string, more: LinksOf): void {
  const deleted = table.get(id)
  if (!deleted) return
  table.set(id, {
    object: deleted.object,
    containers: [...deleted.containers, ...more.containers],
    members: [...deleted.members, ...more.members],
  })
}
