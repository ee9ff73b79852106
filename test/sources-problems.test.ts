import { expect, test } from 'vitest'
import { one, other, sourcesFolder, tenant } from './support/sources-folder.ts'

const { parse } = sourcesFolder()

test.for([
  [{ slug: 'Staff' }, 'sources[0].slug must be lower-case letters, digits and hyphens'],
  [{ name: '' }, 'sources[0].name must have at least 1 character'],
  [{ name: undefined }, 'sources[0].name is missing'],
  [{ enabled: 'yes' }, 'sources[0].enabled must be true or false'],
  [{ filters: null }, 'sources[0].filters is empty: fill it in, or leave it out'],
  [{ filters: [] }, 'sources[0].filters must be a mapping'],
  [{ clientId: 12 }, 'sources[0].clientId must be text; put it in quotes'],
  [{ cloud: 'germany' }, 'sources[0].cloud must be one of global, usgov, usgov-dod, china'],
  [{ tenant: 'contoso.com' }, 'sources[0].tenant must be a GUID, organizations or common'],
  [
    { tenant: 'common' },
    'sources[0].allowedTenants is missing: with tenant common list the tenants, or say any',
  ],
  [{ allowedTenants: 'any' }, 'sources[0].allowedTenants goes with tenant organizations or common only'],
  [
    { tenant: 'common', allowedTenants: 'all' },
    'sources[0].allowedTenants must be any, or a list of tenant ids',
  ],
  [{ tenant: 'common', allowedTenants: [tenant, 'x'] }, 'sources[0].allowedTenants[1] must be a GUID'],
  [{ tenant: 'common', allowedTenants: [] }, 'sources[0].allowedTenants must have at least 1 entry'],
  [{ credentials: [] }, 'sources[0].credentials must have at least 1 entry'],
  [
    { credentials: [{ id: 'none' }] },
    'sources[0].credentials[0] must have one of federatedTokenFile, certificate, secret',
  ],
  [
    { credentials: [{ secret: 'x', federatedTokenFile: 'y' }] },
    'sources[0].credentials[0] has federatedTokenFile and secret: make an entry of each',
  ],
  [
    { credentials: [{ secret: 'x', privateKey: 'y' }] },
    'sources[0].credentials[0].privateKey goes with certificate only',
  ],
  [
    { credentials: [{ federatedTokenFile: 'x', expiresAt: '2027-01-31' }] },
    'sources[0].credentials[0].expiresAt goes with secret only',
  ],
  [
    {
      credentials: [
        { secret: 'x', id: 'a' },
        { secret: 'y', id: 'a' },
      ],
    },
    'sources[0].credentials[1].id is the id of a credential before it',
  ],
  [
    { credentials: [{ secret: 'x', expiresAt: '31.1.2027' }] },
    'sources[0].credentials[0].expiresAt must be a date such as 2027-01-31, or a time such as 2027-01-31T12:00:00Z',
  ],
  [
    { credentials: [{ secret: '${NOT_SET}' }] },
    'sources[0].credentials[0].secret needs the environment variable NOT_SET, which is not set',
  ],
  [
    { credentials: [{ secret: '${}' }] },
    'sources[0].credentials[0].secret must have the name of an environment variable in ${}',
  ],
  [
    { credentials: [{ secret: 'file:/no/such' }] },
    "sources[0].credentials[0].secret needs the file /no/such, which can't be read (ENOENT)",
  ],
  [
    { credentials: [{ secret: 'file:empty' }] },
    /credentials\[0\]\.secret needs the file .*empty, which is empty$/,
  ],
  [
    { credentials: [{ certificate: 'file:certificate.pem' }] },
    "sources[0].credentials[0] can't be read as PEM with a certificate and its unencrypted private key",
  ],
  [
    { scopes: ['User.Read GroupMember.Read.All'] },
    'sources[0].scopes[0] must be a permission, without spaces',
  ],
  [{ filters: { names: '(?=x)' } }, /filters\.names must be a pattern in RE2 syntax/],
  [{ guard: { maxShare: 101 } }, 'sources[0].guard.maxShare must be at most 100'],
  [{ guard: { maxShare: 0.5 } }, 'sources[0].guard.maxShare must be a whole number'],
  [{ resync: { delta: 'every 5m' } }, 'sources[0].resync.delta goes with read: app only'],
  [
    { resync: { schedule: 'noon' } },
    'sources[0].resync.schedule must be off, an interval such as every 6h (at least 5m), or five fields of cron such as 0 3 * * *',
  ],
  [{ signUp: { policy: 'members' } }, 'sources[0].signUp.groups is missing: policy members needs the groups'],
  [
    { signUp: { policy: 'invited', groups: [other] } },
    'sources[0].signUp.groups goes with policy members only',
  ],
  [
    { signUp: { policy: 'members', groups: Array.from({ length: 21 }, () => other) } },
    'sources[0].signUp.groups must have at most 20 entries',
  ],
  [{ graphBaseUrl: 'http://graph.example' }, /graphBaseUrl must be https/],
  [{ icon: 'icon.gif' }, /icon must be the path of a \.png or \.svg file, or a URL/],
  [{ icon: 'data:text/html;base64,PGI+' }, /icon must be the path of a \.png or \.svg file, or a URL/],
  [{ icon: 'missing.png' }, /icon needs the file .*missing\.png, which can't be read \(ENOENT\)$/],
  [{ icon: 'text.svg' }, /icon needs the file .*text\.svg, which is no svg image$/],
  [{ icon: 'big.png' }, 'sources[0].icon must be an image of at most 64 KiB'],
  [
    { icon: `data:image/png;base64,${Buffer.alloc(65 * 1024).toString('base64')}` },
    'sources[0].icon must be an image of at most 64 KiB',
  ],
  [{ tenent: tenant }, 'sources[0].tenent is not known; did you mean tenant?'],
  [{ client_id: other }, 'sources[0].client_id is not known; did you mean clientId?'],
  [{ colour: 'red' }, 'sources[0].colour is not known'],
  [{ filters: { id: [other] } }, 'sources[0].filters.id is not known; did you mean ids?'],
] as const)('%j is told: %s', ([changes, told]) => {
  const { sources, problems } = parse(one(changes))
  expect(problems).toEqual([expect.stringMatching(typeof told === 'string' ? `^1: ${escape(told)}$` : told)])
  expect(sources).toEqual([])
})

const escape = (text: string) => text.replaceAll(/[.*+?^${}()|[\]\\]/g, String.raw`\$&`)

test('everything that is wrong in a file is told at once, each with its line', () => {
  const { problems } = parse(`# two sources
sources:
  - slug: staff
    tennant: ${tenant}
    clientId: &app ${other}
    credentials:
      - secret: "\${NOT_SET}"
        expiresAt:
          soon
      - id: empty
    name: Staff
  -
    slug: partners
    name: Partners
    clientId: *app
    tenant: organizations
    credentials: [{ secret: x, colour: red }]
    signUp:
      policy: anyone
      groups: [x]
souces: []
`)
  expect(problems).toEqual([
    '3: sources[0].tenant is missing',
    '4: sources[0].tennant is not known; did you mean tenant?',
    '7: sources[0].credentials[0].secret needs the environment variable NOT_SET, which is not set',
    expect.stringMatching(/^9: sources\[0\]\.credentials\[0\]\.expiresAt must be a date/),
    '10: sources[0].credentials[1] must have one of federatedTokenFile, certificate, secret',
    '13: sources[1].allowedTenants is missing: with tenant organizations list the tenants, or say any',
    '17: sources[1].credentials[0].colour is not known',
    '20: sources[1].signUp.groups[0] must be a GUID',
    '20: sources[1].signUp.groups goes with policy members only',
    '21: souces is not known; did you mean sources?',
  ])
})

test("what sources can't be together is told at the line of the later one", () => {
  const source = (slug: string, more = '') =>
    `  - { slug: ${slug}, name: x, tenant: ${tenant}, clientId: ${other}, credentials: [{ secret: x }]${more} }\n`
  const { problems } = parse(
    `sources:\n${source('a')}${source('b', ', groupRead: direct')}${source('a')}${source('a')}`,
  )
  expect(problems).toEqual([
    expect.stringMatching(/^3: sources\[1\] takes people of a tenant that a takes too/),
    '4: sources[2] has the slug of a source before it',
    expect.stringMatching(/^4: sources\[2\] takes people of a tenant that b takes too/),
    '5: sources[3] has the slug of a source before it',
    expect.stringMatching(/^5: sources\[3\] takes people of a tenant that b takes too/),
  ])
})

test.for([
  ['nothing', '', ['1: the file is empty']],
  ['comments only', '# nothing\n', ['1: the file is empty']],
  ['text', 'sources', ['1: the file must be a mapping']],
  ['no sources', '{}', ['1: sources is missing']],
  ['an empty list of them', '\nsources: []', ['2: sources must have at least 1 entry']],
  [
    'a key twice',
    'sources: []\nsources: []',
    expect.arrayContaining(['2: the file has a key here that its mapping has already']),
  ],
  [
    'an open quote',
    'sources:\n  - slug: "a',
    expect.arrayContaining([expect.stringMatching(/^2: the file is no YAML/)]),
  ],
  ['two documents', 'a: 1\n---\nb: 1', ['2: the file has a second document here']],
  ['an unknown tag', 'sources: !!js/function x', ['1: the file has a tag here that is not known']],
  [
    'an alias without anchor',
    'sources: *x',
    ['1: the file has an alias here, but no anchor of that name before it'],
  ],
  ['a list in itself', 'sources: &a [*a]', ['1: sources[0] must be a mapping']],
  ['deep nesting', '['.repeat(20_000), expect.arrayContaining(['1: the file is nested too deeply here'])],
  ['more than 1 MiB', `# ${'x'.repeat(1024 * 1024)}`, ['1: the file has more than 1 MiB']],
  [
    'more than 100 sources',
    `sources:\n${'  - {}\n'.repeat(101)}`,
    expect.arrayContaining(['2: sources must have at most 100 entries']),
  ],
] as const)('a file with %s gives problems', ([, text, told]) => {
  expect(parse(text)).toEqual({ sources: [], problems: told })
})

test('aliases that stand for millions of values are not followed', () => {
  const levels = ['b', 'c', 'd', 'e', 'f', 'g', 'h'].map(
    (name, index) =>
      `${name}: &${name} [${Array.from({ length: 10 }, () => `*${'abcdefg'[index]}`).join()}]\n`,
  )
  expect(parse(`a: &a [x]\n${levels.join('')}sources: *h`).problems).toEqual([
    '1: the file has aliases that stand for too much',
  ])
})
