import { servicePrincipalId } from './service-principal-id.ts'
import { mutate, type Mutation } from './mutations.ts'
import { groupOf, type NewGroup } from './new-group.ts'
import { userOf, type NewUser } from './new-user.ts'
import type {
  AdministrativeUnit,
  Container,
  Device,
  DirectoryRole,
  Group,
  OtherMember,
  ServicePrincipal,
  User,
} from './objects.ts'
import { deletions, markLink, saveUser } from './deletions.ts'
import { findContainer, findMember, groupIn, unknown, userIn, type Directory } from './store.ts'

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
  /** Soft deletion: the user leaves every answer and can be restored with their memberships. */
  deleteUser(id: string): void
  restoreUser(id: string): User
  /** Deletes for good, softly deleted before or not. */
  purgeUser(id: string): void
  addGroup(wanted: NewGroup): Group
  updateGroup(id: string, changes: Partial<Omit<Group, 'id' | '@odata.type'>>): Group
  /** Entra itself cannot clear a name; `null` provokes the answer of a reader without permission. */
  renameGroup(id: string, displayName: string | null): Group
  /** Soft deletion: the group leaves every answer and can be restored with its links. */
  deleteGroup(id: string): void
  restoreGroup(id: string): Group
  purgeGroup(id: string): void
  addDirectoryRole(wanted: {
    displayName: string
    roleTemplateId?: string
    description?: string
  }): DirectoryRole
  addAdministrativeUnit(wanted: { displayName: string; description?: string }): AdministrativeUnit
  addDevice(wanted: { displayName: string }): Device
  /** With a client id, the one that tokens of that app are about. */
  addServicePrincipal(wanted: { displayName: string; appId?: string }): ServicePrincipal
  /** Adds a user, a group or one of these to a group, directory role or administrative unit; adding twice changes nothing. */
  addMember(containerId: string, memberId: string): void
  removeMember(containerId: string, memberId: string): void
  nest(parentId: string, childId: string): void
  /**
   * The truth to compare a reader's result with: the groups a user is in, sorted by id. Transitive unless told
   * otherwise, and without groups of hidden membership unless `hidden`, as the default app sees them.
   */
  groupsOf(userId: string, options?: { transitive?: boolean; hidden?: boolean }): Group[]
  /**
   * A storm of so many changes, drawn from a seed: members come and go, groups are nested, and people and groups are
   * made, renamed, deleted, restored and purged. Returns what it did.
   */
  mutate(seed: number, count: number): Mutation[]
}

const createdDateTime = '2024-01-15T09:30:00Z'

/** The only writer of a directory. */
export function tenantOf(directory: Directory): Tenant {
  const { users, groups, roles, units } = directory
  const tenant: Tenant = {
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
    ...deletions(directory),
    ...administration(directory),
    ...otherMembers(directory),
    ...links(directory),
    mutate: (seed, count) => mutate(tenant, directory, seed, count),
  }
  return tenant
}

type Part<Name extends keyof Tenant> = Pick<Tenant, Name>

function userChanges(directory: Directory): Part<'addUser' | 'updateUser'> {
  return {
    addUser(wanted = {}) {
      const { random, domain, journal } = directory
      const user = userOf(wanted.id ?? random.uuid(), domain, createdDateTime, wanted)
      saveUser(directory, user)
      journal.mark({ what: 'user', id: user.id, properties: undefined })
      return user
    },
    updateUser(key, changes) {
      const before = userIn(directory, key)
      const user = { ...before, ...changes }
      saveUser(directory, user)
      markUpdate(directory, 'user', before, user)
      return user
    },
  }
}

function groupChanges(directory: Directory): Part<'addGroup' | 'updateGroup' | 'renameGroup'> {
  const { groups, journal } = directory
  const updateGroup = (id: string, changes: Partial<Group>): Group => {
    const before = groupIn(directory, id)
    const group = { ...before, ...changes }
    groups.set(id, group)
    markUpdate(directory, 'group', before, group)
    return group
  }
  return {
    addGroup(wanted) {
      const { random, domain } = directory
      const group = groupOf(wanted.id ?? random.uuid(), domain, createdDateTime, wanted)
      groups.set(group.id, group)
      journal.mark({ what: 'group', id: group.id, properties: undefined })
      return group
    },
    updateGroup,
    renameGroup: (id, displayName) => updateGroup(id, { displayName }),
  }
}

/** Notes which properties changed, if any did. */
function markUpdate<T extends User | Group>(
  { journal }: Directory,
  what: 'user' | 'group',
  before: T,
  after: T,
): void {
  const old = new Map<string, unknown>(Object.entries(before))
  const properties = Object.entries(after).flatMap(([name, value]) => (old.get(name) === value ? [] : [name]))
  if (properties.length > 0) journal.mark({ what, id: after.id, properties })
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

function otherMembers(directory: Directory): Part<'addDevice' | 'addServicePrincipal'> {
  const { others } = directory
  const shared = () => ({ id: directory.random.uuid(), deletedDateTime: null, accountEnabled: true })
  return {
    addDevice({ displayName }) {
      const device: Device = {
        '@odata.type': '#microsoft.graph.device',
        ...shared(),
        deviceId: directory.random.uuid(),
        displayName,
      }
      others.set(device.id, device)
      return device
    },
    addServicePrincipal({ displayName, appId }) {
      const own = shared()
      const principal: ServicePrincipal = {
        '@odata.type': '#microsoft.graph.servicePrincipal',
        ...own,
        id: appId === undefined ? own.id : servicePrincipalId(directory.tenantId, appId),
        appId: appId ?? directory.random.uuid(),
        displayName,
      }
      others.set(principal.id, principal)
      return principal
    },
  }
}

function links(directory: Directory): Part<'addMember' | 'removeMember' | 'nest' | 'groupsOf'> {
  const { groups, memberships } = directory
  const addMember = (containerId: string, memberId: string): void => {
    const container = findContainer(directory, containerId) ?? unknown('group', containerId)
    const member = findMember(directory, memberId) ?? unknown('member', memberId)
    assertCanContain(container, member)
    if (memberships.has(container.id, member.id)) return
    memberships.add(container.id, member.id)
    markLink(directory, container.id, member.id)
  }
  return {
    addMember,
    removeMember(containerId, memberId) {
      if (!findContainer(directory, containerId)) unknown('group', containerId)
      if (!memberships.remove(containerId, memberId)) unknown(`member of ${containerId}`, memberId)
      markLink(directory, containerId, memberId)
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

function assertCanContain(container: Container, member: User | Group | OtherMember): void {
  if (member['@odata.type'] !== '#microsoft.graph.group') return
  if (container['@odata.type'] === '#microsoft.graph.group' && container.groupTypes.includes('Unified'))
    throw new Error(`Microsoft 365 group ${container.id} cannot contain group ${member.id}`)
  if (container['@odata.type'] === '#microsoft.graph.directoryRole' && member.isAssignableToRole !== true)
    throw new Error(`group ${member.id} is not assignable to roles, so it cannot be in role ${container.id}`)
}
