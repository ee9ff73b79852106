import type { MemberType } from '../directory/journal.ts'
import type { Group, User } from '../directory/objects.ts'
import type { Directory } from '../directory/store.ts'
import { hasHiddenMembership } from '../directory/tenant.ts'
import { mayReadHidden } from './access.ts'
import type { GraphCall } from './call.ts'
import type { DeltaCursor, DeltaToken } from './delta-token.ts'
import { project } from './rendering.ts'

/** A page of a round, and where the next begins if the round isn't over. */
export type DeltaCut = { entries: object[]; next: DeltaCursor | undefined }

export type MemberEntry = { '@odata.type': MemberType; id: string; '@removed'?: { reason: 'deleted' } }

/** Who left, the membership or the directory: neither can be told from the other (Graph docs: delta-query-groups). */
export function removedMember(id: string, type: MemberType): MemberEntry {
  return { '@odata.type': type, id, '@removed': { reason: 'deleted' } }
}

export function presentMember(id: string, type: MemberType): MemberEntry {
  return { '@odata.type': type, id }
}

/** `changed` can come back, `deleted` can't. */
export function removedObject(directory: Directory, set: DeltaToken['set'], id: string): object {
  const softly = set === 'users' ? directory.deletedUsers.get(id) : directory.deletedGroups.get(id)
  return { id, '@removed': { reason: softly ? 'changed' : 'deleted' } }
}

/** An object with the properties asked for, or those of them that changed, and always its id. */
export function objectEntry(
  object: User | Group,
  select: readonly string[] | undefined,
  changed: ReadonlySet<string> | undefined,
): Record<string, unknown> {
  const all = project(object, { select: select && [...select, 'id'], typed: false }, false)
  if (!changed) return all
  return Object.fromEntries(Object.entries(all).filter(([name]) => name === 'id' || changed.has(name)))
}

/** Whether a round has `members@delta`: by default it has (Graph docs: delta-query-groups). */
export function tellsMembers({ set, select }: DeltaToken): boolean {
  return set === 'groups' && (!select || select.some((name) => name.toLowerCase() === 'members'))
}

/** The members of hidden groups take Member.Read.Hidden here too. */
export function mayTellMembers(call: GraphCall, group: Group | undefined): boolean {
  return !group || !hasHiddenMembership(group) || mayReadHidden(call.access)
}
