import fc from 'fast-check'
import { expect, test } from 'vitest'
import { digestOf } from '../src/reconcile/digest.ts'
import type { RemoteMembership } from '../src/snapshot.ts'
import {
  limitedGroup,
  remoteGroup,
  remoteMembership,
  remoteMemberships,
} from './support/remote-memberships.ts'

const one = remoteGroup({
  objectId: 'a',
  displayName: 'b',
  description: 'c',
  mail: 'd',
  groupTypes: ['e', 'f'],
})

test('the order in which Graph tells the groups does not change the digest', () => {
  const shuffles = remoteMemberships.chain((set) =>
    fc.tuple(fc.constant(set), fc.shuffledSubarray(set, { minLength: set.length, maxLength: set.length })),
  )
  fc.assert(
    fc.property(shuffles, ([set, shuffled]) => {
      expect(digestOf(shuffled)).toBe(digestOf(set))
    }),
  )
})

test("the order of a group's types does not change the digest", () => {
  expect(digestOf([{ ...one, groupTypes: ['f', 'e'] }])).toBe(digestOf([one]))
})

test('the same groups in other objects have the same digest', () => {
  const { objectId, ...labels } = one
  expect(digestOf([{ ...labels, objectId }])).toBe(digestOf([one]))
})

const changes: [string, RemoteMembership][] = [
  ['another id', { ...one, objectId: 'A' }],
  ['another name', { ...one, displayName: 'B' }],
  ['another description', { ...one, description: 'C' }],
  ['another mail address', { ...one, mail: 'D' }],
  ['an unknown name', { ...one, displayName: null }],
  ['an empty name', { ...one, displayName: '' }],
  ['another flag', { ...one, securityEnabled: false }],
  ['an unknown flag', { ...one, mailEnabled: null }],
  ['unknown types', { ...one, groupTypes: null }],
  ['no types', { ...one, groupTypes: [] }],
  ['types run together', { ...one, groupTypes: ['ef'] }],
  ['a letter moved from one label to the next', { ...one, displayName: 'bc', description: '' }],
  ['a label moved into the id', { ...one, objectId: 'ab', displayName: '' }],
  ['a type moved into the mail address', { ...one, mail: 'de', groupTypes: ['', 'f'] }],
]

test.each(changes)('%s changes the digest', (_, changed) => {
  expect(digestOf([changed])).not.toBe(digestOf([one]))
})

test('every one of a set of lookalikes has a digest of its own', () => {
  const digests = [one, ...changes.map(([, changed]) => changed)].map((membership) => digestOf([membership]))
  expect(new Set(digests).size).toBe(digests.length)
})

test('an empty list, a nameless group and two groups run together are all different', () => {
  const sets = [[], [limitedGroup('')], [limitedGroup('ab')], [limitedGroup('a'), limitedGroup('b')]]
  expect(new Set(sets.map(digestOf)).size).toBe(sets.length)
})

test('different sets have different digests, whatever their labels contain', () => {
  const canonical = (set: RemoteMembership[]) =>
    set
      .map((group) => [
        group.objectId,
        ...[group.displayName, group.description, group.mail].map((text) => text && text.toWellFormed()),
        group.securityEnabled,
        group.mailEnabled,
        group.groupTypes && group.groupTypes.toSorted(),
      ])
      .map((fields) => JSON.stringify(fields))
      .toSorted()
      .join('\n')
  fc.assert(
    fc.property(remoteMemberships, remoteMemberships, (a, b) => {
      expect(digestOf(a) === digestOf(b)).toBe(canonical(a) === canonical(b))
    }),
    { numRuns: 300 },
  )
  fc.assert(
    fc.property(remoteMembership, remoteMembership, (a, b) => {
      const moved = { ...b, objectId: a.objectId }
      expect(digestOf([a]) === digestOf([moved])).toBe(canonical([a]) === canonical([moved]))
    }),
    { numRuns: 1000 },
  )
})
