import { randomBytes } from 'node:crypto'
import { expect, test } from 'vitest'
import { loadConfig, parseNamedKeys, type Environment } from '../src/config.ts'
import { ConfigInvalid } from '../src/errors.ts'
import { remoteGroup } from './support/remote-memberships.ts'

const aKey = randomBytes(32).toString('base64')
const complete = {
  DATABASE_URL: 'postgres://localhost/app',
  ENTRA_TENANT_ID: '6f1b6c0e-5b2a-4f0e-9a59-0d4e6a5c3b21',
  ENTRA_CLIENT_ID: '6f1b6c0e-5b2a-4f0e-9a59-0d4e6a5c3b22',
  ENTRA_CLIENT_SECRET: 'a secret',
  TOKEN_ENCRYPTION_KEYS: `k1:${aKey}`,
  SESSION_KEYS: `s1:${aKey}`,
}

function problemsOf(environment: Environment, needs = {}): string[] {
  try {
    loadConfig(environment, needs)
  } catch (error) {
    if (error instanceof ConfigInvalid) return error.problems.map(({ setting }) => setting)
    throw error
  }
  return []
}

test('a complete environment gives a frozen configuration with safe defaults', () => {
  const config = loadConfig(complete, { gateway: true })
  expect(config).toMatchObject({
    queueUrl: 'postgres://localhost/app',
    host: '127.0.0.1',
    publicUrl: 'http://localhost:3000',
    adminPassword: undefined,
    apiKeys: [],
    sources: [{ slug: 'entra-id', graphBaseUrl: 'https://graph.microsoft.com', groupRead: 'transitive' }],
  })
  expect(Object.isFrozen(config)).toBe(true)
})

test('every missing and every malformed setting is told at once', () => {
  const environment = {
    ENTRA_TENANT_ID: 'contoso',
    PORT: 'abc',
    QUEUE_URL: 'amqp://x',
    LOG_LEVEL: 'loud',
    TOKEN_ENCRYPTION_KEYS: 'k1:short',
  }
  expect(problemsOf(environment, { gateway: true }).toSorted()).toEqual([
    'DATABASE_URL',
    'ENTRA_CLIENT_ID',
    'ENTRA_CLIENT_SECRET',
    'ENTRA_TENANT_ID',
    'LOG_LEVEL',
    'PORT',
    'QUEUE_URL',
    'SESSION_KEYS',
    'TOKEN_ENCRYPTION_KEYS',
  ])
})

test('a command that needs less of it complains of less', () => {
  expect(problemsOf({ DATABASE_URL: 'postgres://localhost/app' }, { databaseOnly: true })).toEqual([])
  expect(problemsOf({ ...complete, SESSION_KEYS: '' })).toEqual([])
})

test.for([
  ['http://127.0.0.1:8080', true],
  ['http://localhost:8080', true],
  ['http://[::1]:8080', true],
  ['https://graph.microsoft.us', true],
  ['http://graph.microsoft.com', false],
  ['http://localhost.evil.example', false],
  ['https://user:password@graph.microsoft.com', false],
  ['ftp://graph.microsoft.com', false],
  ['graph.microsoft.com', false],
  ['https://graph.microsoft.com/', true],
  ['https://graph.microsoft.com/v1.0', false],
] as const)('the base URL %s is taken: %s', ([url, taken]) => {
  expect(problemsOf({ ...complete, GRAPH_BASE_URL: url })).toEqual(taken ? [] : ['GRAPH_BASE_URL'])
})

const messageOf = (given: Environment): string => {
  try {
    loadConfig({ ...complete, ...given })
  } catch (error) {
    return error instanceof Error ? error.message : 'no error'
  }
  return 'taken'
}

test.for([
  [
    'GRAPH_BASE_URL',
    'https://graph.microsoft.com/v1.0',
    'must have no path: write https://graph.microsoft.com',
  ],
  [
    'ENTRA_AUTHORITY_HOST',
    'https://login.microsoftonline.com/common/',
    'must have no path: write https://login.microsoftonline.com',
  ],
] as const)('%s=%s is refused with what to write instead', ([setting, url, message]) => {
  expect(messageOf({ [setting]: url })).toBe(`${setting}: ${message}`)
})

test.for([
  ['DATABASE_URL', 'postgres://user:%zz@host/db', 'percent-encode'],
  ['DATABASE_URL', 'postgres://us%er@host/db', 'percent-encode'],
  ['DATABASE_URL', 'postgres://user:50%@host/db', 'percent-encode'],
  ['QUEUE_URL', 'redis://:%zz@host', 'percent-encode'],
  ['QUEUE_URL', 'postgres://user:%@host/db', 'percent-encode'],
  ['QUEUE_URL', 'redis://host/abc', 'database number'],
  ['QUEUE_URL', 'no url', 'must be a URL that starts with redis:'],
  ['QUEUE_URL', 'amqp://a:%zz@host', 'must be a URL that starts with redis:'],
  ['API_KEYS', `${'a'.repeat(24)},${'b'.repeat(12)} ${'c'.repeat(12)}`, 'entry 2 must have no space'],
  ['API_KEYS', 'ä'.repeat(24), 'only ASCII'],
] as const)('%s=%s is one problem, which says what to do', ([setting, value, part]) => {
  const message = messageOf({ [setting]: value })
  expect(message).toContain(`${setting}: `)
  expect(message).toContain(part)
  expect(message).not.toContain('\n')
})

test.for([
  ['DATABASE_URL', 'postgres://user:50%25@host/my%20db'],
  ['QUEUE_URL', 'redis://:p%40ss@host:6379/2'],
  ['QUEUE_URL', 'rediss://host/'],
  ['QUEUE_URL', 'postgres://host/queue'],
] as const)('%s=%s is taken', ([setting, value]) => {
  expect(messageOf({ [setting]: value })).toBe('taken')
})

test('a problem with a key names its entry and never its value', () => {
  const secret = randomBytes(31).toString('base64')
  const broken = () => parseNamedKeys('KEYS', `good:${aKey},bad:${secret},good:${aKey},shapeless`)
  expect(broken).toThrow(ConfigInvalid)
  expect(broken).toThrow(/entry 2 \(bad\) has 31 bytes[\s\S]*entry 3 repeats[\s\S]*entry 4 must be/)
  expect(broken).not.toThrow(secret)
})

test('API keys that are short enough to guess are refused', () => {
  expect(problemsOf({ ...complete, API_KEYS: 'short' })).toEqual(['API_KEYS'])
  expect(loadConfig({ ...complete, API_KEYS: `${'a'.repeat(24)}, ${'b'.repeat(24)}` }).apiKeys).toEqual([
    'a'.repeat(24),
    'b'.repeat(24),
  ])
})

test.for([
  ['GROUP_FILTER_NAMES', '^(a)\\1$'],
  ['GROUP_FILTER_NAMES', '(?=App)'],
  ['GROUP_FILTER_NAMES', '(?!App)'],
  ['GROUP_FILTER_NAMES', '(?<=App)-'],
  ['GROUP_FILTER_EXCLUDE_NAMES', '(?<!App)-'],
  ['GROUP_FILTER_EXCLUDE_NAMES', '(App'],
  ['GROUP_FILTER_EXCLUDE_NAMES', '((a{100}){100}){100}'],
  ['GROUP_FILTER_IDS', '6f1b6c0e-5b2a-4f0e-9a59-0d4e6a5c3b21,Staff'],
  ['GROUP_FILTER_UNIFIED', 'true'],
  ['GROUP_FILTER_SECURITY_ENABLED', 'yes'],
] as const)('%s refuses %s at start-up', ([setting, value]) => {
  expect(problemsOf({ ...complete, [setting]: value })).toEqual([setting])
})

test('a filter is made of what is set, and there is none where nothing is', () => {
  const filterOf = (environment: Environment) =>
    loadConfig({ ...complete, ...environment }).sources[0]?.groupFilter
  expect(filterOf({ GROUP_FILTER_SECURITY_ENABLED: 'false', GROUP_FILTER_NAMES: '' })).toBeUndefined()
  const id = '6F1B6C0E-5B2A-4F0E-9A59-0D4E6A5C3B21'
  const filter = filterOf({
    GROUP_FILTER_SECURITY_ENABLED: 'true',
    GROUP_FILTER_UNIFIED: 'exclude',
    GROUP_FILTER_IDS: `${id}, 6f1b6c0e-5b2a-4f0e-9a59-0d4e6a5c3b22`,
    GROUP_FILTER_NAMES: '^app-',
    GROUP_FILTER_EXCLUDE_NAMES: 'test|trial',
  })
  const group = remoteGroup({ objectId: id.toLowerCase(), displayName: 'App-Readers' })
  expect(filter?.judge(group)).toBe('in')
  const others = [
    { objectId: '6f1b6c0e-5b2a-4f0e-9a59-0d4e6a5c3b23' },
    { displayName: 'Readers' },
    { displayName: 'App-Trials' },
    { securityEnabled: false },
    { groupTypes: ['Unified'] },
  ]
  for (const other of others) expect([other, filter?.judge({ ...group, ...other })]).toEqual([other, 'out'])
})

test('a resync has a guard of its own', () => {
  expect(loadConfig(complete).sources[0]?.resyncGuard).toEqual({ minRemovals: 200, maxShare: 0.1 })
  const set = { GUARD_RESYNC_MIN_REMOVALS: '50', GUARD_RESYNC_MAX_SHARE: '25' }
  expect(loadConfig({ ...complete, ...set }).sources[0]?.resyncGuard).toEqual({
    minRemovals: 50,
    maxShare: 0.25,
  })
})
