import { expect, test } from 'vitest'
import { exchangeOf, type ToldExchange } from '../src/exchange-settings.ts'
import { sourcesProblems, type SourceConfig } from '../src/source-config.ts'
import { testSource, testTenantId } from './support/gateway.ts'
import { other, sourcesFolder, tenant } from './support/sources-folder.ts'

const { parse } = sourcesFolder()

const elsewhere = 'dddddddd-1111-4222-8333-444444444444'
const several = { kind: 'organizations', allowed: 'any' } as const
const single = (id: string) => ({ kind: 'single', id }) as const

function source(
  slug: string,
  told: ToldExchange | undefined,
  more: Partial<SourceConfig> = {},
): SourceConfig {
  const exchange = told && exchangeOf({ callers: 'any', ...told })
  return { ...testSource, slug, clientId: crypto.randomUUID(), exchange, ...more }
}

/** What is told of the later one of two. */
const told = (one: SourceConfig, later: SourceConfig) =>
  sourcesProblems([one, later]).map(({ slug, message }) => `${slug} ${message}`)

const rivals = [
  expect.stringMatching(/^b exchanges tokens of apps of a tenant of which a does too: .+delegated or off$/),
]

test.for<[what: string, one: SourceConfig, later: SourceConfig, refused: boolean]>([
  ['two of apps', source('a', { accepts: 'app' }), source('b', { accepts: 'app' }), true],
  ['any beside apps', source('a', { accepts: 'any' }), source('b', { accepts: 'app' }), true],
  [
    'one for several tenants',
    source('a', { accepts: 'app' }),
    source('b', { accepts: 'app' }, { tenant: several }),
    true,
  ],
  [
    'one that lists the tenant',
    source('a', { accepts: 'app' }, { tenant: { ...several, allowed: [testTenantId, elsewhere] } }),
    source('b', { accepts: 'app' }),
    true,
  ],
  [
    'one of another tenant',
    source('a', { accepts: 'app' }),
    source('b', { accepts: 'app' }, { tenant: single(elsewhere) }),
    false,
  ],
  ['one for people only', source('a', { accepts: 'app' }), source('b', { accepts: 'delegated' }), false],
  ['one that exchanges none', source('a', { accepts: 'app' }), source('b', undefined), false],
  [
    'one that is switched off',
    source('a', { accepts: 'app' }),
    source('b', { accepts: 'app' }, { enabled: false }),
    false,
  ],
])(
  'two sources that could take groups from one service are refused, and others not: %s',
  ([, one, later, refused]) => {
    expect(told(one, later)).toEqual(refused ? rivals : [])
  },
)

test.for<[what: string, later: (id: string) => SourceConfig, audiences: (id: string) => string[]]>([
  ['the client id', (clientId) => source('b', { accepts: 'delegated' }, { clientId }), (id) => [id]],
  [
    'a further address',
    () => source('b', { accepts: 'delegated', audiences: ['api://b', 'api://orders'] }),
    () => ['api://orders'],
  ],
  [
    'an address with the other one’s client id',
    (id) => source('b', { accepts: 'delegated', audiences: [`api://${id}`] }),
    (id) => [`api://${id}`],
  ],
  [
    'an address in another tenant',
    () => source('b', { accepts: 'app', audiences: ['api://orders'] }, { tenant: single(elsewhere) }),
    () => [],
  ],
])('a token must not be for two sources of one tenant, by %s', ([, later, audiences]) => {
  const one = source('a', { accepts: 'app', audiences: ['api://orders'] })
  const message = (shared: string) => `exchanges tokens for ${shared}, and so does a for the same tenant`
  const found = told(one, later(one.clientId)).map((problem) => problem.split(/^b |, and the rules/)[1])
  expect(found).toEqual(audiences(one.clientId).map(message))
})

test('sources that take groups from each other’s services are told at the line of the later one', () => {
  const line = (slug: string, clientId: string) =>
    `  - { slug: ${slug}, name: x, tenant: ${tenant}, clientId: ${clientId}, credentials: [{ secret: x }], exchange: { accepts: app, callers: any } }\n`
  const { problems } = parse(`sources:\n${line('a', other)}${line('b', elsewhere)}`)
  expect(problems).toEqual([expect.stringMatching(/^3: sources\[1\] exchanges tokens of apps of a tenant/)])
})
