import { createPrivateKey } from 'node:crypto'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { loadConfig, type Environment } from '../src/config.ts'
import { ConfigInvalid } from '../src/errors.ts'
import { createLoopbackTls } from '../src/simulator/certificates.ts'
import {
  adminConsentUrl,
  chooseSource,
  readsGroups,
  sourcesProblems,
  syncsGroups,
  takesTenant,
  type SourceConfig,
} from '../src/source-config.ts'
import { testSource } from './support/gateway.ts'

const [one, two, three] = [1, 2, 3].map((digit) => `6f1b6c0e-5b2a-4f0e-9a59-0d4e6a5c3b2${digit}`) as [
  string,
  string,
  string,
]
const key = Buffer.alloc(32, 1).toString('base64')
const complete = {
  DATABASE_URL: 'postgres://localhost/app',
  TOKEN_ENCRYPTION_KEYS: `k1:${key}`,
  ENTRA_TENANT_ID: one,
  ENTRA_CLIENT_ID: two,
  ENTRA_CLIENT_SECRET: 'a secret',
}

function sourceOf(environment: Environment): SourceConfig {
  const [source] = loadConfig({ ...complete, ...environment }).sources
  if (!source) throw new Error('no source')
  return source
}

function problemsOf(environment: Environment): string[] {
  try {
    loadConfig({ ...complete, ...environment })
  } catch (error) {
    if (error instanceof ConfigInvalid) return error.problems.map(({ setting }) => setting)
    throw error
  }
  return []
}

let folder: string
let pem: string
beforeAll(() => {
  folder = mkdtempSync(path.join(tmpdir(), 'source-settings-'))
  const { key: privateKey, cert } = createLoopbackTls('localhost')
  pem = path.join(folder, 'app.pem')
  const pkcs8 = createPrivateKey(privateKey).export({ type: 'pkcs8', format: 'pem' })
  writeFileSync(pem, `${cert}\n${String(pkcs8)}`)
})
afterAll(() => rmSync(folder, { recursive: true }))

test.for([
  ['global', 'https://login.microsoftonline.com', 'https://graph.microsoft.com'],
  ['usgov', 'https://login.microsoftonline.us', 'https://graph.microsoft.us'],
  ['usgov-dod', 'https://login.microsoftonline.us', 'https://dod-graph.microsoft.us'],
  ['china', 'https://login.partner.microsoftonline.cn', 'https://microsoftgraph.chinacloudapi.cn'],
] as const)('the cloud %s is at %s and %s, unless told otherwise', ([cloud, authorityHost, graphBaseUrl]) => {
  expect(sourceOf({ ENTRA_CLOUD: cloud })).toMatchObject({ authorityHost, graphBaseUrl })
  const proxied = sourceOf({ ENTRA_CLOUD: cloud, ENTRA_AUTHORITY_HOST: 'https://entra.example' })
  expect(proxied).toMatchObject({ authorityHost: 'https://entra.example', graphBaseUrl })
})

test('a source for several tenants takes those that are listed, or any', () => {
  const listed = sourceOf({ ENTRA_TENANT_ID: 'organizations', ENTRA_ALLOWED_TENANTS: `${one},${two}` })
  expect([one, two, three].map((id) => takesTenant(listed, id))).toEqual([true, true, false])
  const any = sourceOf({ ENTRA_TENANT_ID: 'common', ENTRA_ALLOWED_TENANTS: 'any' })
  expect(takesTenant(any, three)).toBe(true)
  expect(takesTenant(sourceOf({}), two)).toBe(false)
  expect(new URL(adminConsentUrl(any, 'https://x.example/')).pathname).toBe('/organizations/adminconsent')
})

test.for([
  [{ ENTRA_TENANT_ID: 'organizations' }, ['ENTRA_ALLOWED_TENANTS']],
  [{ ENTRA_ALLOWED_TENANTS: one }, ['ENTRA_ALLOWED_TENANTS']],
  [{ ENTRA_TENANT_ID: 'contoso.example' }, ['ENTRA_TENANT_ID']],
  [{ SIGN_UP: 'members' }, ['SIGN_UP_GROUPS']],
  [{ SIGN_UP_GROUPS: one }, ['SIGN_UP_GROUPS']],
  [{ SIGN_UP: 'friends' }, ['SIGN_UP']],
  [{ SIGN_UP: 'members', SIGN_UP_GROUPS: Array(21).fill(one).join(',') }, ['SIGN_UP_GROUPS']],
  [{ SIGN_UP: 'members', SIGN_UP_GROUPS: one, GROUP_FILTER_IDS: two }, ['SIGN_UP_GROUPS']],
  [{ SIGN_UP: 'members', SIGN_UP_GROUPS: one, GROUP_FILTER_IDS: `${one},${two}` }, []],
  [{ SIGN_UP: 'members', SIGN_UP_GROUPS: one, GROUP_SYNC: 'false' }, ['SIGN_UP_GROUPS']],
  [{ SIGN_UP: 'members', SIGN_UP_GROUPS: one, GROUP_READ: 'direct' }, ['SIGN_UP_GROUPS']],
  [{ SIGN_UP: 'members', SIGN_UP_GROUPS: one, GROUP_FILTER_NAMES: '^app' }, ['SIGN_UP_GROUPS']],
  [{ ENTRA_CLIENT_SECRET: '' }, ['ENTRA_CLIENT_SECRET']],
  [{ ENTRA_CLIENT_SECRET: '', ENTRA_FEDERATED_TOKEN_FILE: '/var/run/token' }, []],
  [{ ENTRA_CLIENT_CERTIFICATE_FILE: '/no/such.pem' }, ['ENTRA_CLIENT_CERTIFICATE_FILE']],
] as const)('%j is wrong in %j', ([environment, settings]) => {
  expect(problemsOf(environment)).toEqual(settings)
})

test('credentials come in the order they are preferred in, and a certificate tells its end', () => {
  const { credentials } = sourceOf({
    ENTRA_CLIENT_SECRET_NEXT: 'another',
    ENTRA_CLIENT_CERTIFICATE_FILE: pem,
    ENTRA_FEDERATED_TOKEN_FILE: '/var/run/token',
  })
  expect(credentials.map(({ id }) => id)).toEqual(['federated', 'certificate', 'secret', 'next secret'])
  expect(Date.parse(credentials[1]?.expiresAt ?? '')).toBeGreaterThan(Date.now())
})

test.for([
  ['User.Read GroupMember.Read.All', true],
  ['User.Read,Group.Read.All', true],
  ['https://graph.microsoft.com/groupmember.read.all', true],
  ['Directory.ReadWrite.All', true],
  ['User.Read', false],
  ['GroupMember.ReadBasic.All', false],
  ['XGroupMember.Read.All', false],
] as const)('the permissions %s read groups: %s', ([scopes, expected]) => {
  const source = sourceOf({ ENTRA_SCOPES: scopes })
  expect(readsGroups(source.scopes)).toBe(expected)
  expect(syncsGroups(source)).toBe(expected)
  expect(syncsGroups(sourceOf({ ENTRA_SCOPES: scopes, GROUP_SYNC: 'false' }))).toBe(false)
})

const sourceAt = (slug: string, changes: Partial<SourceConfig>): SourceConfig => ({
  ...testSource,
  slug,
  ...changes,
})

test('a report belongs to the source it names, or to the only one that takes its tenant', () => {
  const staff = sourceAt('staff', { tenant: { kind: 'single', id: one } })
  const partners = sourceAt('partners', { tenant: { kind: 'organizations', allowed: [one, two] } })
  const closed = sourceAt('closed', { tenant: { kind: 'single', id: three }, enabled: false })
  const choose = (slug: string | undefined, tenantId: string) => {
    const chosen = chooseSource([staff, partners, closed], { slug, tenantId })
    return 'source' in chosen ? chosen.source.slug : chosen.field
  }
  expect(choose(undefined, two)).toBe('partners')
  expect(choose(undefined, one)).toBe('source')
  expect(choose('staff', one)).toBe('staff')
  expect(choose('staff', two)).toBe('tenantId')
  expect(choose(undefined, three)).toBe('tenantId')
  expect(choose('closed', three)).toBe('source')
})

test('two sources may not bring the people of one tenant up to date by different rules', () => {
  const staff = sourceAt('staff', { tenant: { kind: 'single', id: one } })
  const others = (changes: Partial<SourceConfig>) =>
    sourcesProblems([staff, sourceAt('other', { groupRead: 'direct', ...changes })]).map(({ slug }) => slug)
  expect(others({ tenant: { kind: 'single', id: one } })).toEqual(['other'])
  expect(others({ tenant: { kind: 'common', allowed: 'any' } })).toEqual(['other'])
  expect(others({ tenant: { kind: 'organizations', allowed: [two] } })).toEqual([])
  expect(others({ tenant: { kind: 'single', id: one }, groupSync: false })).toEqual([])
  expect(others({ tenant: { kind: 'single', id: one }, groupRead: 'transitive' })).toEqual([])
  expect(others({ slug: 'staff', tenant: { kind: 'single', id: two } })).toEqual(['staff'])
})
