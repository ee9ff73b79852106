import type { Mark, MemberType } from '../directory/journal.ts'
import { isDirectMember } from '../directory/deletions.ts'
import { findMember } from '../directory/store.ts'
import { defaultUserProperties, type Group, type User } from '../directory/objects.ts'
import type { GraphCall } from './call.ts'
import { firstAfter } from './collection.ts'
import {
  mayTellMembers,
  objectEntry,
  presentMember,
  removedMember,
  removedObject,
  tellsMembers,
  type DeltaCut,
} from './delta-entries.ts'
import type { DeltaToken } from './delta-token.ts'

/** What a page tells of one object: properties undefined for all of them. */
type Touched = { properties: Set<string> | undefined; members: Map<string, MemberType> }

/**
 * A page of what changed, in the order of the journal. Marks of one object that fall on one page are told together, and
 * each as it is now: what comes later in the journal may so be told twice, never wrongly.
 */
export function cutChanges(call: GraphCall, token: DeltaToken): DeltaCut {
  const { delta } = call.tenant
  const { journal } = delta.directory()
  const { pageSize, membersPerPage, replays, repeats } = delta.settings()
  const touched = new Map<string, Touched>()
  // What is told again fits beside a full page, or a page could consist of nothing else.
  const again = token.page === 1 ? replays : repeats
  const cut = (at: number, member: string): DeltaCut => ({
    entries: write(call, token, touched),
    next: { ...token, at, member },
  })
  for (let at = Math.max(0, token.at - again); at < token.until; at++) {
    const mark = journal.at(at)
    if (!mark || !concerns(call, token, mark)) continue
    const known = touched.get(mark.id)
    if (!known && touched.size >= pageSize + again) return cut(at, '')
    const entry = known ?? { properties: new Set<string>(), members: new Map<string, MemberType>() }
    touched.set(mark.id, entry)
    if (mark.what === 'member') {
      if (entry.members.size >= membersPerPage + again) return cut(at, '')
      entry.members.set(mark.member, mark.type)
      continue
    }
    if (!mark.properties) entry.properties = undefined
    for (const name of mark.properties ?? []) entry.properties?.add(name)
    if (mark.what !== 'group' || mark.restored !== true || at < token.at || !tellsMembers(token)) continue
    const last = addMembers(call, mark.id, entry, at === token.at ? token.member : '', again)
    if (last !== undefined) return cut(at, last)
  }
  return { entries: write(call, token, touched), next: undefined }
}

/** A restored group appears as new, with all its members: those that fit, and then the last that did. */
function addMembers(
  call: GraphCall,
  groupId: string,
  entry: Touched,
  after: string,
  again: number,
): string | undefined {
  const { delta } = call.tenant
  const directory = delta.directory()
  const group = directory.groups.get(groupId)
  if (!group || !mayTellMembers(call, group)) return undefined
  const members = directory.memberships.membersOf(groupId)
  let last = after
  for (const member of members.slice(firstAfter(members, after))) {
    if (entry.members.size >= delta.settings().membersPerPage + again) return last
    const type = findMember(directory, member)?.['@odata.type']
    if (type) entry.members.set(member, type)
    last = member
  }
  return undefined
}

function concerns(call: GraphCall, token: DeltaToken, mark: Mark): boolean {
  if (token.ids && !token.ids.includes(mark.id)) return false
  if (mark.what === 'user') return token.set === 'users' && tracks(token, mark.properties)
  if (token.set !== 'groups') return false
  if (mark.what === 'group') return tracks(token, mark.properties)
  return tellsMembers(token) && mayTellMembers(call, call.tenant.delta.directory().groups.get(mark.id))
}

/** Only changes of what was selected are tracked. */
function tracks({ set, select }: DeltaToken, properties: readonly string[] | undefined): boolean {
  if (!properties) return true
  const wanted = select ?? (set === 'users' ? defaultUserProperties : undefined)
  if (!wanted) return true
  const names = new Set(wanted.map((name) => name.toLowerCase()))
  return properties.some((name) => names.has(name.toLowerCase()))
}

function write(call: GraphCall, token: DeltaToken, touched: ReadonlyMap<string, Touched>): object[] {
  const directory = call.tenant.delta.directory()
  const onlyChanged = call.options.minimal || call.tenant.delta.settings().properties === 'changed'
  return [...touched].map(([id, { properties, members }]) => {
    const object: User | Group | undefined = directory[token.set].get(id)
    if (!object) return removedObject(directory, token.set, id)
    const entry = objectEntry(object, token.select, onlyChanged ? properties : undefined)
    const told = [...members].map(([member, type]) =>
      isDirectMember(directory, id, member) ? presentMember(member, type) : removedMember(member, type),
    )
    return told.length > 0 ? { ...entry, 'members@delta': told } : entry
  })
}
