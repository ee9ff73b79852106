import { hash } from 'node:crypto'
import { RE2JS } from 're2js'
import type { RemoteMembership } from '../snapshot.ts'

/** Which groups of a source are kept; what is left out lets every group pass. */
export type FilterRules = {
  /** Only security-enabled groups. */
  securityEnabled?: true | undefined
  /** Microsoft 365 groups: nothing else, or everything else. */
  unified?: 'only' | 'exclude' | undefined
  /** Object ids, lower-case. */
  ids?: readonly string[] | undefined
  /** A name must match. */
  names?: NamePattern | undefined
  /** A name must not match. */
  excludeNames?: NamePattern | undefined
}

/** A pattern on display names, found anywhere in a name whatever its case. */
export type NamePattern = { source: string; matches: (name: string) => boolean }

export type Verdict = 'in' | 'out' | 'unknown'

export type GroupFilter = {
  /** The same for the same rules; another one makes the next run compare in full. */
  fingerprint: string
  judge: (membership: RemoteMembership) => Verdict
}

/**
 * Matching takes time linear in the name, whatever the pattern: what would need more, back-references and look-around, is
 * no RE2 syntax. Upper and lower case are one, letter by letter, in every script.
 * @throws {RE2JSException} for what isn't a pattern of RE2.
 */
export function namePattern(source: string): NamePattern {
  const pattern = RE2JS.compile(source, RE2JS.CASE_INSENSITIVE)
  return { source, matches: (name) => pattern.test(name) }
}

/**
 * Pure. A group is `in` if it passes every rule, and `out` if it surely fails one. Otherwise Graph didn't tell a property
 * that a rule needs (a limited-information group): then it is `unknown`, which is never a reason to remove or to create.
 * Labels known from before don't count, since they may have changed. Undefined where there is no rule.
 */
export function createGroupFilter(rules: FilterRules): GroupFilter | undefined {
  const { securityEnabled, unified, names, excludeNames } = rules
  const ids = rules.ids && new Set(rules.ids)
  const tests: ((membership: RemoteMembership) => boolean | null)[] = []
  if (ids) tests.push(({ objectId }) => ids.has(objectId))
  if (securityEnabled) tests.push((membership) => membership.securityEnabled)
  if (unified) {
    tests.push(({ groupTypes }) => groupTypes && groupTypes.includes('Unified') === (unified === 'only'))
  }
  if (names) tests.push(({ displayName }) => (displayName === null ? null : names.matches(displayName)))
  if (excludeNames) {
    tests.push(({ displayName }) => (displayName === null ? null : !excludeNames.matches(displayName)))
  }
  if (tests.length === 0) return undefined
  return {
    fingerprint: fingerprintOf(rules),
    judge: (membership) => {
      let verdict: Verdict = 'in'
      for (const passes of tests) {
        const passed = passes(membership)
        if (passed === false) return 'out'
        if (passed === null) verdict = 'unknown'
      }
      return verdict
    },
  }
}

function fingerprintOf({ securityEnabled, unified, ids, names, excludeNames }: FilterRules): string {
  const told = [securityEnabled, unified, ids?.toSorted(), names?.source, excludeNames?.source]
  return hash('sha256', JSON.stringify(told.map((rule) => rule ?? null)), 'base64url')
}

export type Sifted = {
  /** What is `in` or `unknown`. */
  memberships: readonly RemoteMembership[]
  /** Object ids of those that are `unknown`: kept where they are stored, not created. */
  unknown: ReadonlySet<string>
  /** How many are `out`. */
  out: number
}

const none: ReadonlySet<string> = new Set()

/** What is left of a snapshot's memberships; all of them where there is no filter. */
export function sift(memberships: readonly RemoteMembership[], filter: GroupFilter | undefined): Sifted {
  if (!filter) return { memberships, unknown: none, out: 0 }
  const unknown = new Set<string>()
  const kept = memberships.filter((membership) => {
    const verdict = filter.judge(membership)
    if (verdict === 'unknown') unknown.add(membership.objectId)
    return verdict !== 'out'
  })
  return { memberships: kept, unknown, out: memberships.length - kept.length }
}
