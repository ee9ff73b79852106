import { randomUUID } from 'node:crypto'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import type { Database } from '../db/client.ts'
import { digestOf, filteredDigest } from '../src/reconcile/digest.ts'
import { createGroupFilter, namePattern, sift, type FilterRules } from '../src/reconcile/filter.ts'
import type { Subject } from '../src/reconcile/reconcile.ts'
import type { RemoteMembership } from '../src/snapshot.ts'
import { changesOf, groupsOf, replay, statementsOf, sync } from './support/reconciled.ts'
import { limitedGroup, objectIds, remoteGroup, remoteMemberships } from './support/remote-memberships.ts'
import { givenUser, insertUser } from './support/users.ts'

const group = remoteGroup({ displayName: 'App-Érié Readers' })
const unified = remoteGroup({ groupTypes: ['Unified', 'DynamicMembership'], securityEnabled: false })
const limited = limitedGroup(randomUUID())
const names = (source: string) => namePattern(source)

function judge(rules: FilterRules, membership: RemoteMembership) {
  return createGroupFilter(rules)?.judge(membership)
}

describe('a group', () => {
  test.for<[string, string, FilterRules, RemoteMembership]>([
    ['security-enabled', 'in', { securityEnabled: true }, group],
    ['not security-enabled', 'out', { securityEnabled: true }, unified],
    ['of Microsoft 365, wanted alone', 'in', { unified: 'only' }, unified],
    ['not of Microsoft 365, where those are wanted alone', 'out', { unified: 'only' }, group],
    ['of Microsoft 365, excluded', 'out', { unified: 'exclude' }, unified],
    ['not of Microsoft 365, where those are excluded', 'in', { unified: 'exclude' }, group],
    ['on the list', 'in', { ids: [group.objectId] }, group],
    ['not on the list', 'out', { ids: [unified.objectId] }, group],
    ['whose name matches', 'in', { names: names('^app-') }, group],
    ['whose name matches in other letters of the script', 'in', { names: names('ÉRIÉ r') }, group],
    ['whose name does not match', 'out', { names: names('^readers') }, group],
    ['whose name matches what is excluded', 'out', { excludeNames: names('READERS$') }, group],
    ['whose name does not match what is excluded', 'in', { excludeNames: names('^readers') }, group],
    ['that passes one rule and fails another', 'out', { unified: 'exclude', ids: [] }, group],
    [
      'without a name, where the name decides',
      'unknown',
      { names: names('.') },
      { ...group, displayName: null },
    ],
    ['with an empty name', 'in', { names: names('^$') }, { ...group, displayName: '' }],
    [
      'with half a surrogate pair in its name',
      'in',
      { names: names('x') },
      { ...group, displayName: '\ud800x' },
    ],
    [
      'that surely fails one rule and may fail another',
      'out',
      { securityEnabled: true, names: names('^other') },
      { ...group, securityEnabled: null },
    ],
  ])('%s is judged %s', ([, verdict, rules, membership]) => {
    expect(judge(rules, membership)).toBe(verdict)
  })

  test.for<[string, FilterRules]>([
    ['its kind', { securityEnabled: true }],
    ['its types', { unified: 'only' }],
    ['its types to exclude it', { unified: 'exclude' }],
    ['its name', { names: names('.') }],
    ['its name to exclude it', { excludeNames: names('.') }],
    ['its name beside its id', { ids: [limited.objectId], names: names('.') }],
  ])('of limited information is unknown to a filter that asks for %s', ([, rules]) => {
    expect(judge(rules, limited)).toBe('unknown')
  })

  test('of limited information is known to a list of ids, alone or as the rule that fails', () => {
    expect(judge({ ids: [limited.objectId] }, limited)).toBe('in')
    expect(judge({ ids: [group.objectId] }, limited)).toBe('out')
    expect(judge({ ids: [group.objectId], names: names('.') }, limited)).toBe('out')
  })

  test('passes where there is no rule, and nothing is looked at', () => {
    expect(createGroupFilter({})).toBeUndefined()
    const all = [group, limited]
    expect(sift(all, undefined).memberships).toBe(all)
  })
})

test('a name of 100,000 characters under a pattern that would make a backtracking matcher stand still is decided', () => {
  expect(names('^(([a-z])+.)+[A-Z]([a-z])+$').matches('a'.repeat(100_000))).toBe(true)
  expect(names('^(a+)+$').matches(`${'a'.repeat(100_000)}!`)).toBe(false)
})

test('the digest of a filtered source depends on the filter, that of an unfiltered one is as it was', async () => {
  const filters = [
    { securityEnabled: true as const },
    { ids: [group.objectId] },
    { names: names('^app') },
    { excludeNames: names('^app') },
  ]
  const prints = filters.map((rules) => createGroupFilter(rules)?.fingerprint ?? '')
  expect(new Set(prints).size).toBe(filters.length)
  const digests = [digestOf([group]), ...prints.map((print) => filteredDigest(digestOf([group]), print))]
  expect(new Set(digests).size).toBe(digests.length)
  const reordered = createGroupFilter({ ids: ['b', 'a'] })?.fingerprint
  expect(reordered).toBe(createGroupFilter({ ids: ['a', 'b'] })?.fingerprint)
})

describe('reconciling', () => {
  let db: Database
  let user: Subject
  givenUser((given) => ({ db, user } = given))

  const ids = (groups: readonly { objectId: string }[]) => groups.map(({ objectId }) => objectId).toSorted()
  const under = (rules: FilterRules) => ({ rules: { filter: createGroupFilter(rules) } })

  test('a group that is filtered out gets no row, and the counts say how many there were', async () => {
    const end = await sync(db, user, [group, unified, limited], under({ unified: 'exclude' }))
    expect(end).toMatchObject({ counts: { remote: 3, groupsCreated: 1, added: 1, filtered: 1, unknown: 1 } })
    expect(await groupsOf(db, user)).toEqual([group.objectId])
    const rows = await db.$client`select from groups where tenant_id = ${user.tenantId}`
    expect(rows).toHaveLength(1)
  })

  test('a changed filter takes effect on the next run though Graph tells the same, and is then unchanged', async () => {
    const remote = [group, unified]
    await sync(db, user, remote)
    const filtered = under({ unified: 'exclude' })
    const end = await sync(db, user, remote, filtered)
    expect(end).toMatchObject({ outcome: 'applied', counts: { removed: 1 } })
    // Graph lists it, so nobody needs to ask whether it exists.
    expect(end.left).toEqual([])
    expect(await groupsOf(db, user)).toEqual([group.objectId])
    const again = await statementsOf(db, async () => {
      expect(await sync(db, user, remote, filtered)).toMatchObject({ outcome: 'unchanged' })
    })
    expect(again).toHaveLength(1)
    expect(await sync(db, user, remote)).toMatchObject({ outcome: 'applied', counts: { added: 1 } })
    expect(await groupsOf(db, user)).toEqual(ids(remote))
    expect(replay(await changesOf(db, user))).toEqual(ids(remote))
  })

  test('a membership that becomes unknown to the filter stays; one that was none is not made', async () => {
    const rules = under({ names: names('^app-') })
    await sync(db, user, [group], rules)
    const end = await sync(db, user, [limitedGroup(group.objectId), limited], rules)
    expect(end).toMatchObject({ counts: { added: 0, removed: 0, unknown: 2, filtered: 0 } })
    expect(await groupsOf(db, user)).toEqual([group.objectId])
    // The name that is stored does not decide: it may have changed.
    expect(
      await sync(db, user, [limitedGroup(group.objectId)], under({ names: names('^other') })),
    ).toMatchObject({
      counts: { removed: 0, unknown: 1 },
    })
    expect(await sync(db, user, [], rules)).toMatchObject({ counts: { removed: 1 } })
  })

  test('a group that one filter could not judge is joined once another one can, though Graph tells the same', async () => {
    await sync(db, user, [limited], under({ names: names('^app-') }))
    expect(await groupsOf(db, user)).toEqual([])
    await sync(db, user, [limited], under({ ids: [limited.objectId] }))
    expect(await groupsOf(db, user)).toEqual([limited.objectId])
  })

  test('without a filter the digest that is stored is that of what Graph told', async () => {
    await sync(db, user, [group])
    const [row] = await db.$client`select membership_digest from users where id = ${user.userId}`
    expect(row).toEqual({ membership_digest: digestOf([group]) })
  })

  test('what a filter removes goes through the guard', async () => {
    const many = Array.from({ length: 6 }, () => remoteGroup({ groupTypes: ['Unified'] }))
    await sync(db, user, many)
    const rules = { ...under({ unified: 'exclude' }).rules, guard: { minRemovals: 5, maxShare: 0.5 } }
    expect(await sync(db, user, many, { rules })).toMatchObject({ outcome: 'held', counts: { held: 6 } })
    expect(await groupsOf(db, user)).toHaveLength(6)
  })

  const someRules: fc.Arbitrary<FilterRules> = fc.record({
    securityEnabled: fc.constantFrom(true, undefined),
    unified: fc.constantFrom('only', 'exclude', undefined),
    ids: fc.option(fc.subarray(objectIds), { nil: undefined }),
    names: fc.constantFrom(names('a'), undefined),
    excludeNames: fc.constantFrom(names('a.'), undefined),
  })

  test('for any filters and reads: stored is what is in and what is unknown and was stored; nothing else is touched', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.tuple(remoteMemberships, someRules), { minLength: 1, maxLength: 4 }),
        async (reads) => {
          user = await insertUser(db)
          const others = [await insertUser(db), await insertUser(db, user.tenantId)]
          const everything = objectIds.map((objectId) => remoteGroup({ objectId }))
          for (const other of others) await sync(db, other, everything)
          await db.$client`insert into memberships (user_id, group_id, origin)
            select ${user.userId}, id, 'local' from groups where tenant_id = ${user.tenantId}`
          let before: string[] = []
          for (const [remote, rules] of reads) {
            await sync(db, user, remote, under(rules))
            const verdicts = remote.map((one) => ({ ...one, verdict: judge(rules, one) ?? 'in' }))
            const kept = verdicts.filter(
              ({ objectId, verdict }) =>
                verdict === 'in' || (verdict === 'unknown' && before.includes(objectId)),
            )
            const stored = await groupsOf(db, user)
            expect(stored).toEqual(ids(kept))
            expect(await sync(db, user, remote, under(rules))).toMatchObject({ outcome: 'unchanged' })
            before = stored
          }
          for (const other of others) expect(await groupsOf(db, other)).toEqual(objectIds)
          expect(await groupsOf(db, user, 'local')).toEqual(objectIds)
          expect(replay(await changesOf(db, user))).toEqual(before)
        },
      ),
      { numRuns: 40 },
    )
  })

  test('for any filter: setting it and taking it back restores the same memberships', async () => {
    await fc.assert(
      fc.asyncProperty(remoteMemberships, someRules, async (remote, rules) => {
        user = await insertUser(db)
        await sync(db, user, remote)
        await sync(db, user, remote, under(rules))
        await sync(db, user, remote)
        expect(await groupsOf(db, user)).toEqual(ids(remote))
      }),
      { numRuns: 30 },
    )
  })
})
