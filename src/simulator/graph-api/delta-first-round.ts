import type { MemberType } from '../directory/journal.ts'
import type { Group, User } from '../directory/objects.ts'
import { isDirectMember } from '../directory/deletions.ts'
import { findMember, type Directory } from '../directory/store.ts'
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
  type MemberEntry,
} from './delta-entries.ts'
import type { DeltaToken } from './delta-token.ts'

/**
 * A page of everything there is, by id. Changes made between pages are not kept out; the next round tells them again.
 */
export function cutFirstRound(call: GraphCall, token: DeltaToken): DeltaCut {
  const directory = call.tenant.delta.directory()
  const { pageSize, membersPerPage, repeats, removedAtFirst } = call.tenant.delta.settings()
  const ids = token.ids ?? directory[token.set].ids()
  const following = firstAfter(ids, token.after)
  const inPart = token.member !== '' && ids[following - 1] === token.after
  const start = inPart ? following - 1 : following
  const gone = removedAtFirst && tellsMembers(token) ? membersGone(directory) : undefined
  const entries: object[] = []
  const end = start + pageSize
  for (const id of ids.slice(token.after === '' ? start : Math.max(0, start - repeats), end)) {
    const object: User | Group | undefined = directory[token.set].get(id)
    if (!object) continue
    const entry = objectEntry(object, token.select, undefined)
    entries.push(entry)
    if (object['@odata.type'] === '#microsoft.graph.group' && tellsMembers(token)) {
      if (!mayTellMembers(call, object)) continue
      const members = directory.memberships.membersOf(id)
      const resumed = id === token.after && token.member !== ''
      const from = resumed ? firstAfter(members, token.member) : 0
      const slice = members.slice(from, from + membersPerPage)
      const left = resumed
        ? []
        : [...(gone?.get(id) ?? [])].map(([member, type]) => removedMember(member, type))
      const told = [...left, ...slice.flatMap((member) => memberNow(directory, member))]
      if (told.length > 0) entry['members@delta'] = told
      if (id >= (ids[start] ?? '') && from + membersPerPage < members.length)
        return { entries, next: { ...token, after: id, member: slice.at(-1) ?? '' } }
    }
  }
  if (end < ids.length) return { entries, next: { ...token, after: ids[end - 1] ?? '', member: '' } }
  if (removedAtFirst) entries.push(...objectsGone(directory, token))
  return { entries, next: undefined }
}

function memberNow(directory: Directory, id: string): MemberEntry[] {
  const found = findMember(directory, id)
  return found ? [presentMember(id, found['@odata.type'])] : []
}

function objectsGone(directory: Directory, { set, ids }: DeltaToken): object[] {
  const deleted = set === 'users' ? directory.deletedUsers : directory.deletedGroups
  return deleted.ids().flatMap((id) => (!ids || ids.includes(id) ? removedObject(directory, set, id) : []))
}

/** Who left which group since the start. */
function membersGone(directory: Directory): Map<string, Map<string, MemberType>> {
  const gone = new Map<string, Map<string, MemberType>>()
  for (let at = 0; at < directory.journal.size(); at++) {
    const mark = directory.journal.at(at)
    if (mark?.what !== 'member' || isDirectMember(directory, mark.id, mark.member)) continue
    gone.set(mark.id, (gone.get(mark.id) ?? new Map<string, MemberType>()).set(mark.member, mark.type))
  }
  return gone
}
