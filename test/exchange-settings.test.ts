import { writeFileSync } from 'node:fs'
import { expect, test } from 'vitest'
import { loadConfig, type ConfigNeeds } from '../src/config.ts'
import { ConfigInvalid } from '../src/errors.ts'
import { one, other, sourcesFolder, tenant } from './support/sources-folder.ts'

const { parse, file } = sourcesFolder()

const complete = {
  DATABASE_URL: 'postgres://localhost/app',
  ENTRA_TENANT_ID: tenant,
  ENTRA_CLIENT_ID: other,
  ENTRA_CLIENT_SECRET: 'a secret',
  TOKEN_ENCRYPTION_KEYS: `k1:${Buffer.alloc(32).toString('base64')}`,
}

const loaded = (environment: Record<string, string>) => loadConfig({ ...complete, ...environment })

function problemsOf(environment: Record<string, string>, needs: ConfigNeeds = {}): string[] {
  try {
    loadConfig({ ...complete, ...environment }, needs)
  } catch (error) {
    if (error instanceof ConfigInvalid)
      return error.problems.map(({ setting, message }) => `${setting} ${message}`)
    throw error
  }
  return []
}

test('nothing is exchanged, and for nobody, unless told', () => {
  const config = loaded({})
  expect([config.applications, config.localTokenSeconds, config.sources[0]?.exchange]).toEqual([
    [],
    600,
    undefined,
  ])
})

test('the environment and a file tell the same of an exchange', () => {
  const told = {
    accepts: 'any',
    audiences: ['api://orders', 'https://orders.example/api'],
    versions: 'v2',
    callers: [tenant],
    groups: 'mapped',
    groupMap: { 'Orders.Read': [other], [tenant]: [other, tenant] },
  }
  const config = loaded({
    EXCHANGE: 'any',
    EXCHANGE_AUDIENCES: 'api://orders, https://orders.example/api',
    EXCHANGE_VERSIONS: 'v2',
    EXCHANGE_CALLERS: tenant.toUpperCase(),
    EXCHANGE_GROUPS: 'mapped',
    EXCHANGE_GROUP_MAP: `Orders.Read=${other}; ${tenant} = ${other.toUpperCase()}, ${tenant};`,
  })
  expect(config.sources[0]?.exchange).toEqual(told)
  expect(parse(one({ exchange: told })).sources[0]?.exchange).toEqual(told)
  expect(parse(one({ exchange: { accepts: 'app', callers: 'any' } })).sources[0]?.exchange).toEqual({
    accepts: 'app',
    audiences: [],
    versions: 'any',
    callers: 'any',
    groups: 'roles',
    groupMap: {},
  })
})

test.for<[setting: string, value: string, told: RegExp]>([
  ['EXCHANGE', 'yes', /must be off, app, delegated or any/],
  ['EXCHANGE_AUDIENCES', 'orders', /entry 1 must be an application id URI/],
  ['EXCHANGE_VERSIONS', 'v1', /must be any or v2/],
  ['EXCHANGE_CALLERS', 'me', /must be any, or client ids/],
  ['EXCHANGE_GROUPS', 'all', /must be roles, mapped or graph/],
  ['EXCHANGE_GROUP_MAP', 'Orders.Read', /entry 1 must be an app role or a client id, =/],
  ['EXCHANGE_GROUP_MAP', `A=${other};A=${other}`, /entry 2 repeats A/],
  ['EXCHANGE_GROUP_MAP', `__proto__=${other};__proto__=x`, /entry 2 must be/],
  ['APPLICATIONS', 'orders,orders', /entry 2 repeats orders/],
  ['APPLICATIONS', 'orders=short', /entry 1 \(orders\) must have a secret of at least 24 characters/],
  ['APPLICATIONS', `orders=${'é'.repeat(30)}`, /entry 1 \(orders\).+ASCII/],
  ['APPLICATIONS', 'or ders', /entry 1 must be the id of an application/],
  ['LOCAL_TOKEN_MINUTES', '61', /must be at most 60/],
])('%s=%s is refused', ([setting, value, told]) => {
  const problems = problemsOf({ [setting]: value })
  expect(problems).toHaveLength(1)
  expect(problems[0]).toMatch(told)
  expect(problems[0]?.startsWith(`${setting} `)).toBe(true)
})

test('what does not go together is told, in the environment and in a file', () => {
  expect(problemsOf({ EXCHANGE: 'app' })).toEqual([
    'EXCHANGE_CALLERS is missing: name the client ids of the apps that may, or any',
  ])
  expect(problemsOf({ EXCHANGE: 'app', EXCHANGE_CALLERS: 'any', EXCHANGE_GROUPS: 'mapped' })).toEqual([
    'EXCHANGE_GROUP_MAP is missing: the groups are to come from it',
  ])
  expect(problemsOf({ EXCHANGE: 'app', EXCHANGE_CALLERS: 'any', EXCHANGE_GROUP_MAP: `A=${other}` })).toEqual([
    'EXCHANGE_GROUP_MAP goes with groups that are mapped, and they are roles',
  ])
  const fromGraph = { EXCHANGE: 'app', EXCHANGE_CALLERS: 'any', EXCHANGE_GROUPS: 'graph' }
  expect(problemsOf({ ...fromGraph, ENTRA_AUTHORITY_HOST: 'http://127.0.0.1:4000' })).toEqual([
    expect.stringMatching(/^EXCHANGE_GROUPS .*ENTRA_AUTHORITY_HOST has to be https/),
  ])
  expect(problemsOf(fromGraph)).toEqual([])
  const { problems } = parse(one({ exchange: { accepts: 'app', groups: 'mapped' } }))
  expect(problems).toEqual([
    expect.stringMatching(/exchange\.callers is missing/),
    expect.stringMatching(/exchange\.groupMap is missing/),
  ])
  expect(parse(one({ exchange: { accept: 'app' } })).problems).toEqual([
    expect.stringMatching(/did you mean accepts\?/),
  ])
})

test('a source for several tenants maps no groups, since each tenant gives roles to whom it likes', () => {
  const several = { ENTRA_TENANT_ID: 'organizations', ENTRA_ALLOWED_TENANTS: `${tenant},${other}` }
  const exchange = { EXCHANGE: 'app', EXCHANGE_CALLERS: 'any' }
  const mapped = { ...exchange, EXCHANGE_GROUPS: 'mapped', EXCHANGE_GROUP_MAP: `A=${other}` }
  expect(problemsOf({ ...several, ...mapped })).toEqual([
    expect.stringMatching(/^EXCHANGE_GROUPS must be roles or graph where several tenants are taken/),
  ])
  expect([problemsOf(mapped), problemsOf({ ...several, ...exchange })]).toEqual([[], []])
  const told = { accepts: 'app', callers: 'any', groups: 'mapped', groupMap: { A: [other] } }
  const inFile = (allowedTenants: unknown) => parse(one({ tenant: 'common', allowedTenants, exchange: told }))
  for (const allowed of ['any', [tenant]])
    expect(inFile(allowed).problems).toEqual([
      expect.stringMatching(/sources\[0\]\.exchange\.groups must be roles or graph/),
    ])
  expect(parse(one({ exchange: told })).problems).toEqual([])
})

test('a client id in a map of groups is one whatever its case, and may not be there twice', () => {
  const upper = 'C0FFEE00-1111-4222-8333-444455556666'
  const exchange = { EXCHANGE: 'app', EXCHANGE_CALLERS: upper, EXCHANGE_GROUPS: 'mapped' }
  const groupMap = { [upper.toLowerCase()]: [other], 'Orders.Read': [tenant] }
  const config = loaded({ ...exchange, EXCHANGE_GROUP_MAP: `${upper}=${other};Orders.Read=${tenant}` })
  expect(config.sources[0]?.exchange).toMatchObject({ callers: [upper.toLowerCase()], groupMap })
  const told = { accepts: 'app', callers: [upper], groups: 'mapped' }
  const inFile = (map: object) => parse(one({ exchange: { ...told, groupMap: map } }))
  expect(inFile({ [upper]: [other], 'Orders.Read': [tenant] }).sources[0]?.exchange?.groupMap).toEqual(
    groupMap,
  )
  expect(
    problemsOf({ ...exchange, EXCHANGE_GROUP_MAP: `${upper}=${other};${upper.toLowerCase()}=${tenant}` }),
  ).toEqual([`EXCHANGE_GROUP_MAP entry 2 repeats ${upper.toLowerCase()}`])
  expect(inFile({ [upper.toLowerCase()]: [other], [upper]: [tenant] }).problems).toEqual([
    expect.stringMatching(/exchange\.groupMap\.\S+ repeats c0ffee00/),
  ])
})

test('what is told of an exchange does nothing alone, and is refused', () => {
  const alone = { EXCHANGE_CALLERS: 'any', EXCHANGE_GROUPS: 'mapped', EXCHANGE_GROUP_MAP: `A=${other}` }
  const missing = expect.stringMatching(
    /^EXCHANGE is missing: .+ does nothing; say app, delegated, any or off$/,
  )
  expect(problemsOf(alone)).toEqual([missing])
  expect(problemsOf({ EXCHANGE_VERSIONS: 'v2' })).toEqual([missing])
  expect(problemsOf({ ...alone, EXCHANGE: 'off' })).toEqual([])
  expect(parse(one({ exchange: { callers: 'any' } })).problems).toEqual([
    expect.stringMatching(/sources\[0\]\.exchange\.accepts is missing/),
  ])
  expect(parse(one({ exchange: {} })).problems).toEqual([])
})

test('a gateway that exchanges tokens needs an application for them, and a worker does not', () => {
  const exchange = { EXCHANGE: 'app', EXCHANGE_CALLERS: 'any' }
  const gateway = { gateway: true }
  const environment = { ...exchange, SESSION_KEYS: complete.TOKEN_ENCRYPTION_KEYS }
  const missing = expect.stringMatching(/^APPLICATIONS is missing: tokens are exchanged/)
  expect(problemsOf(environment, gateway)).toEqual([missing])
  expect(problemsOf({ ...environment, APPLICATIONS: 'orders' }, gateway)).toEqual([])
  expect(problemsOf({ ...environment, EXCHANGE: 'off' }, gateway)).toEqual([])
  expect(problemsOf(exchange)).toEqual([])
  writeFileSync(file('sources.json'), one({ exchange: { accepts: 'app', callers: 'any' } }))
  const { DATABASE_URL, TOKEN_ENCRYPTION_KEYS } = complete
  const ofFile = {
    DATABASE_URL,
    TOKEN_ENCRYPTION_KEYS,
    SESSION_KEYS: TOKEN_ENCRYPTION_KEYS,
    SOURCES_FILE: file('sources.json'),
  }
  expect(() => loadConfig(ofFile, gateway)).toThrow(/^APPLICATIONS: is missing/)
  expect(loadConfig({ ...ofFile, APPLICATIONS: 'orders' }, gateway).sources).toHaveLength(1)
})

test('an application has an id that may be a URI, and a secret or none', () => {
  const secret = 'a=secret:with%everything'
  expect(loaded({ APPLICATIONS: `api://orders=${secret}, billing` }).applications).toEqual([
    { id: 'api://orders', secret },
    { id: 'billing', secret: undefined },
  ])
})
