import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { one, other, sourcesFolder, tenant } from './support/sources-folder.ts'

const { parse } = sourcesFolder()

describe('whatever is done to a file', () => {
  const secrets = ['kV8~AbCdEfGhIjKlMnOpQrStUvWxYz0123456789', 'zZ9~AbCdEfGhIjKlMnOpQrStUvWxYz0123456789']
  const text = `sources:
  - slug: staff
    name: Staff
    tenant: ${tenant}
    clientId: ${other}
    filters: { names: "^app", ids: [${other}] }
    credentials:
      - secret: ${secrets[0]}
      - { secret: '${secrets[1]}', expiresAt: 2027-01-31 }
  - slug: partners
    name: "Partners"
    tenant: common
    allowedTenants: [${other}]
    clientId: ${other}
    signUp: { policy: members, groups: [${tenant}] }
    credentials: [{ secret: '${secrets[0]}' }]
`
  const at = fc.nat(text.length)
  const piece = fc.oneof(
    fc.constantFrom(
      '\n',
      ' ',
      '"',
      "'",
      ':',
      '- ',
      '{',
      '}',
      '[',
      ']',
      '&a ',
      '*a',
      '!!x ',
      '\t',
      '|',
      '#',
      '---\n',
      '%',
      '? ',
      '${',
    ),
    fc.string({ maxLength: 3 }),
  )
  const slip = fc.oneof(
    fc.record({ from: at, length: fc.nat(30), put: piece }),
    fc.record({ from: at, length: fc.constant(0), put: piece }),
    fc.record({ from: at, length: fc.nat(200), put: fc.constant('') }),
  )
  const mangled = fc
    .array(slip, { minLength: 1, maxLength: 6 })
    .map((slips) =>
      slips.reduce(
        (changed, { from, length, put }) => changed.slice(0, from) + put + changed.slice(from + length),
        text,
      ),
    )

  it('gives sources or problems, and no problem shows a secret', () => {
    expect(parse(text).sources).toHaveLength(2)
    fc.assert(
      fc.property(mangled, (changed) => {
        const { sources, problems } = parse(changed)
        expect(sources.length === 0).toBe(problems.length > 0)
        for (const secret of secrets) expect(problems.join('\n')).not.toContain(secret)
      }),
      { numRuns: 1500 },
    )
  }, 60_000)

  it.for([
    ['a key', 'sources: [{ SECRET }]'],
    ['a tag', 'sources: !SECRET x'],
    ['a directive', '%SECRET\n---\nsources: []'],
    ['an alias', 'sources: *SECRET'],
    ['text behind a list', 'sources: []\nSECRET'],
    ['the tenant', 'sources: [{ tenant: "SECRET" }]'],
    ['an icon', 'sources: [{ icon: "SECRET" }]'],
    ['a variable', 'sources: [{ credentials: [{ secret: "${SECRET}" }] }]'],
  ] as const)('gives problems that show no secret, where one stands in the place of %s', ([, mistaken]) => {
    const { problems } = parse(mistaken.replace('SECRET', () => secrets[0]!))
    expect(problems).not.toEqual([])
    expect(problems.join('\n')).not.toContain(secrets[0])
  })

  it('gives sources or problems, where any values stand in the place of right ones', () => {
    const value = fc.jsonValue({ maxDepth: 3 })
    const keys = Object.keys((JSON.parse(one()) as { sources: [object] }).sources[0])
    const more = ['icon', 'allowedTenants', 'filters', 'guard', 'signUp', 'scopes', 'tenantSize', '__proto__']
    fc.assert(
      fc.property(fc.dictionary(fc.constantFrom(...keys, ...more), value), (changes) => {
        const { sources, problems } = parse(one(changes))
        expect(sources.length === 0).toBe(problems.length > 0)
      }),
      { numRuns: 500 },
    )
  })
})
