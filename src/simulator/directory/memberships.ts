/** Who is in what, by object id, with the answers readers need kept until a change makes them wrong. */
export type Memberships = {
  add(containerId: string, memberId: string): void
  remove(containerId: string, memberId: string): boolean
  /** Forgets every link from and to this object, and returns them so that a restore can put them back. */
  detach(id: string): Links
  /** Direct members, sorted by id. */
  membersOf(containerId: string): readonly string[]
  /** Direct containers, sorted by id. */
  direct(memberId: string): readonly string[]
  /** Direct and inherited containers, each once, sorted by id; cycles are legal and end. */
  transitive(memberId: string): readonly string[]
  has(containerId: string, memberId: string): boolean
  clear(): void
}

export type Links = { containers: readonly string[]; members: readonly string[] }

/**
 * `inherits` says whether members of a member count as members too: true for groups and roles, false for
 * administrative units (a group in a unit puts the group in scope, not the people in it).
 */
export function createMemberships(inherits: (containerId: string) => boolean): Memberships {
  const containers = new Map<string, Set<string>>()
  const members = new Map<string, Set<string>>()
  const sortedMembers = new Map<string, readonly string[]>()
  const sortedContainers = new Map<string, readonly string[]>()
  const closures = new Map<string, readonly string[]>()

  const changed = (containerId: string, memberId: string): void => {
    sortedMembers.delete(containerId)
    sortedContainers.delete(memberId)
    // A link below a leaf touches the leaf alone; a link below a container touches everybody under it.
    if ((members.get(memberId)?.size ?? 0) > 0) closures.clear()
    else closures.delete(memberId)
  }
  const remove = (containerId: string, memberId: string): boolean => {
    const removed = members.get(containerId)?.delete(memberId) === true
    containers.get(memberId)?.delete(containerId)
    if (removed) changed(containerId, memberId)
    return removed
  }
  const transitive = (memberId: string): readonly string[] => {
    const found = new Set<string>(containers.get(memberId))
    // A Set visits what is added while it is walked, and each id once: this ends on cycles.
    for (const id of found) {
      for (const parent of containers.get(id) ?? []) if (inherits(parent)) found.add(parent)
    }
    found.delete(memberId)
    return [...found].toSorted()
  }

  return {
    add(containerId, memberId) {
      valueAt(members, containerId, newSet).add(memberId)
      valueAt(containers, memberId, newSet).add(containerId)
      changed(containerId, memberId)
    },
    remove,
    detach(id) {
      const links = { containers: [...(containers.get(id) ?? [])], members: [...(members.get(id) ?? [])] }
      for (const container of links.containers) remove(container, id)
      for (const member of links.members) remove(id, member)
      closures.clear()
      return links
    },
    membersOf: (id) => valueAt(sortedMembers, id, () => [...(members.get(id) ?? [])].toSorted()),
    direct: (id) => valueAt(sortedContainers, id, () => [...(containers.get(id) ?? [])].toSorted()),
    transitive: (id) => valueAt(closures, id, () => transitive(id)),
    has: (containerId, memberId) => members.get(containerId)?.has(memberId) === true,
    clear() {
      for (const map of [containers, members, sortedMembers, sortedContainers, closures]) map.clear()
    },
  }
}

function valueAt<V>(map: Map<string, V>, key: string, make: () => V): V {
  const known = map.get(key)
  if (known !== undefined) return known
  const made = make()
  map.set(key, made)
  return made
}

function newSet(): Set<string> {
  return new Set()
}
