import { hash } from 'node:crypto'
import type { RemoteMembership } from '../snapshot.ts'

/** Numbers a membership takes in the shape, those of its types apart. */
const shapeSize = 5

/**
 * The same text for the same remote memberships, labels included, in whatever order Graph told them. It stands in the
 * path of every unchanged user, so it makes one string of all texts and keeps what separates them in a list of numbers,
 * their lengths, which no text can imitate. Measured: less than half the time of JSON.
 */
export function digestOf(memberships: readonly RemoteMembership[]): string {
  let text = ''
  let at = 0
  const shape = new Int32Array(memberships.length * shapeSize + countTypes(memberships))
  for (const membership of inOrder(memberships)) {
    const { objectId, displayName, description, mail, securityEnabled, mailEnabled, groupTypes } = membership
    text += objectId
    if (displayName !== null) text += displayName
    if (description !== null) text += description
    if (mail !== null) text += mail
    shape[at] = objectId.length
    shape[at + 1] = displayName === null ? -1 : displayName.length
    shape[at + 2] = description === null ? -1 : description.length
    shape[at + 3] = mail === null ? -1 : mail.length
    const types = groupTypes === null ? 0 : groupTypes.length + 1
    shape[at + 4] = types * 9 + flag(securityEnabled) * 3 + flag(mailEnabled)
    at += shapeSize
    if (groupTypes === null) continue
    for (const type of groupTypes.length > 1 ? groupTypes.toSorted() : groupTypes) {
      text += type
      shape[at] = type.length
      at += 1
    }
  }
  return sha256(sha256(shape) + sha256(text))
}

/** The digest of what a filter leaves, other than that of the same memberships under another filter or none. */
export function filteredDigest(digest: string, fingerprint: string): string {
  return sha256(fingerprint + digest)
}

function countTypes(memberships: readonly RemoteMembership[]): number {
  let types = 0
  for (const { groupTypes } of memberships) if (groupTypes !== null) types += groupTypes.length
  return types
}

function sha256(data: string | Int32Array): string {
  return hash('sha256', data, 'base64url')
}

function flag(value: boolean | null): number {
  return value === null ? 0 : value ? 2 : 1
}

/**
 * One order for a set, by numbers made of the first eight characters of the ids, which sort three times as fast as the
 * ids themselves. Where two are equal, all are ordered by the ids.
 */
function inOrder(memberships: readonly RemoteMembership[]): readonly RemoteMembership[] {
  const count = memberships.length
  const keys = new Float64Array(count)
  let index = 0
  for (const { objectId } of memberships) {
    keys[index] = start(objectId) * count + index
    index += 1
  }
  keys.sort()
  const ordered: RemoteMembership[] = []
  let before = -1
  for (const key of keys) {
    const number = Math.floor(key / count)
    const membership = memberships[key - number * count]
    if (number === before || membership === undefined) return memberships.toSorted(byObjectId)
    before = number
    ordered.push(membership)
  }
  return ordered
}

/** A whole number below 2 to the 32nd (FNV-1a), so that its product with a count of groups stays exact. */
function start(objectId: string): number {
  let number = 0x811c9dc5
  for (let at = 0; at < 8; at += 1) number = Math.imul(number ^ objectId.charCodeAt(at), 0x01000193)
  return number >>> 0
}

function byObjectId(a: RemoteMembership, b: RemoteMembership): number {
  return a.objectId < b.objectId ? -1 : 1
}
