import type { GroupLabels } from '../../db/group-labels.ts'
import type { StoredGroup } from '../../db/memberships.ts'
import type { RemoteMembership } from '../snapshot.ts'
import { storableText } from '../storable-text.ts'

/** What Postgres has of a user and of the groups that a snapshot names. */
export type Stored = {
  /** Groups of the snapshot's tenant of which the user has a membership of origin `entra`. Nothing else is removable. */
  members: readonly StoredGroup[]
  /** Other groups of the snapshot that have a row already. */
  others: readonly StoredGroup[]
}

export type NewGroup = GroupLabels & { objectId: string }

/** The difference between a snapshot and what is stored. A group to be created is joined as well. */
export type Plan = {
  create: NewGroup[]
  /** Groups with a row whose labels change or that were taken to be deleted. Null labels change nothing. */
  update: (NewGroup & { id: string })[]
  /** Ids of stored groups to join. */
  add: string[]
  /** Ids of stored groups to leave. */
  remove: string[]
}

const labelsOfText = ['displayName', 'description', 'mail'] as const
const labelsOfFlag = ['securityEnabled', 'mailEnabled'] as const

const none: ReadonlySet<string> = new Set()

/**
 * Pure: what must be written so that the stored memberships equal the remote ones. Made again from what its writing
 * leaves behind, it is empty. A remote membership in `unknown` (object ids) is kept where it is stored and not added
 * where it isn't.
 */
export function planReconcile(
  remote: readonly RemoteMembership[],
  stored: Stored,
  unknown: ReadonlySet<string> = none,
): Plan {
  const members = byObjectId(stored.members)
  const others = byObjectId(stored.others)
  const plan: Plan = { create: [], update: [], add: [], remove: [] }
  const seen = new Set<string>()
  for (const membership of remote) {
    const { objectId } = membership
    if (seen.has(objectId)) continue
    seen.add(objectId)
    if (unknown.has(objectId) && !members.has(objectId)) continue
    const other = others.get(objectId)
    const row = members.get(objectId) ?? other
    if (row === undefined) {
      plan.create.push({ objectId, ...storable(membership) })
      continue
    }
    if (other !== undefined) plan.add.push(row.id)
    const labels = storable(membership)
    if (row.deleted || changes(row, labels)) plan.update.push({ id: row.id, objectId, ...labels })
  }
  for (const member of stored.members) if (!seen.has(member.objectId)) plan.remove.push(member.id)
  return plan
}

function byObjectId(groups: readonly StoredGroup[]): Map<string, StoredGroup> {
  return new Map(groups.map((group) => [group.objectId, group]))
}

/** A label told by an older read than the stored one only fills a gap. */
function changes(row: StoredGroup, told: GroupLabels): boolean {
  const change = (known: string | boolean | null, label: string | boolean | null) =>
    label !== null && label !== known && (known === null || !row.newer)
  return (
    labelsOfText.some((label) => change(row[label], told[label])) ||
    labelsOfFlag.some((label) => change(row[label], told[label])) ||
    change(
      row.groupTypes && JSON.stringify(row.groupTypes),
      told.groupTypes && JSON.stringify(told.groupTypes),
    )
  )
}

function storable(membership: RemoteMembership): GroupLabels {
  return {
    displayName: storableLabel(membership.displayName),
    description: storableLabel(membership.description),
    mail: storableLabel(membership.mail),
    securityEnabled: membership.securityEnabled,
    mailEnabled: membership.mailEnabled,
    groupTypes: membership.groupTypes?.map(storableText).toSorted() ?? null,
  }
}

function storableLabel(label: string | null): string | null {
  return label === null ? label : storableText(label)
}
