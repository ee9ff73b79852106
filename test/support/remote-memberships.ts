import { randomUUID } from 'node:crypto'
import fc from 'fast-check'
import type { RemoteMembership } from '../../src/snapshot.ts'

/** A remote membership with every label known; the parts that matter to a test are given. */
export function remoteGroup(known: Partial<RemoteMembership> = {}): RemoteMembership {
  const objectId = known.objectId ?? randomUUID()
  return {
    displayName: `Group ${objectId.slice(0, 4)}`,
    description: 'A group',
    mail: `${objectId.slice(0, 4)}@contoso.example`,
    securityEnabled: true,
    mailEnabled: false,
    groupTypes: [],
    ...known,
    objectId,
  }
}

/** What Graph tells of a group whose properties the token may not read. */
export function limitedGroup(objectId: string): RemoteMembership {
  const unknown = { displayName: null, description: null, mail: null }
  return { objectId, ...unknown, securityEnabled: null, mailEnabled: null, groupTypes: null }
}

const awkward = fc.constantFrom(
  '',
  '\u0000',
  'null',
  ',',
  '"',
  '{}',
  '\\',
  '\ud800',
  '-1',
  "'",
  'Ω😀',
  'a',
  'A',
)

/** Labels as they come from outside: also empty, with NUL, quotes, braces, half surrogate pairs and numbers. */
export const label = fc.option(
  fc.oneof(
    awkward,
    fc.string({ unit: 'binary', maxLength: 12 }),
    fc.array(awkward).map((parts) => parts.join('')),
  ),
)

/** Object ids of a small directory, so that generated sets overlap. */
export const objectIds = Array.from(
  { length: 12 },
  (_, index) => `00000000-0000-4000-8000-${`${index}`.padStart(12, '0')}`,
)

export const remoteMembership: fc.Arbitrary<RemoteMembership> = fc.record({
  objectId: fc.constantFrom(...objectIds),
  displayName: label,
  description: label,
  mail: label,
  securityEnabled: fc.option(fc.boolean()),
  mailEnabled: fc.option(fc.boolean()),
  groupTypes: fc.option(fc.uniqueArray(fc.constantFrom('Unified', 'DynamicMembership', '"}', 'a,b'))),
})

/** Each group once, in any order. */
export const remoteMemberships = fc.uniqueArray(remoteMembership, {
  selector: ({ objectId }) => objectId,
  maxLength: objectIds.length,
})

/** A label as it can be stored. */
export function storable(text: string | null): string | null {
  return text === null ? null : text.replaceAll('\u0000', '').toWellFormed()
}
