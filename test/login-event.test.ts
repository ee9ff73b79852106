import { randomUUID } from 'node:crypto'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { expect, test } from 'vitest'
import { createLog } from '../src/log.ts'
import { reportedUserOf, signedInUser } from '../src/login/signed-in-user.ts'
import { safeReturnTo } from '../src/login/return-to.ts'
import { testSource } from './support/gateway.ts'

const person = (tokens: object = {}) => ({
  tenantId: randomUUID().toUpperCase(),
  objectId: randomUUID(),
  tokens: { accessToken: 'a', expiresAt: 1_900_000_000, scopes: ['User.Read'], ...tokens },
})
const fieldsOf = (user: unknown) =>
  signedInUser.safeParse(user).error?.issues.map(({ path: at }) => at.join('.')) ?? []

test.for([
  [1_900_000_000, '2030-03-17T17:46:40.000Z'],
  ['2030-01-01T00:00:00+02:00', '2029-12-31T22:00:00.000Z'],
] as const)('an expiry of %j is %s', ([expiresAt, iso]) => {
  expect(signedInUser.parse(person({ expiresAt })).tokens.expiresAt).toBe(iso)
})

test.for([
  1_900_000_000_000,
  8_640_000_000_000,
  0,
  -1,
  1.5,
  '2030-01-01',
  '2030-01-01T00:00:00',
  '9999-12-31T23:59:59-14:00',
  '0000-01-01T00:00:00Z',
  'soon',
])('an expiry of %j is refused by name', (expiresAt) => {
  expect(fieldsOf(person({ expiresAt }))).toEqual(['tokens.expiresAt'])
})

test('a scope with a character no scope has is refused', () => {
  expect(fieldsOf(person({ scopes: ['User.Read', 'a\u0000b'] }))).toEqual(['tokens.scopes.1'])
})

test('a token that no header can carry is refused by name, and not repeated', async () => {
  for (const token of ['a b', 'a\r\nb', 'tökén']) {
    expect(fieldsOf(person({ accessToken: token, refreshToken: token }))).toEqual([
      'tokens.accessToken',
      'tokens.refreshToken',
    ])
  }
  expect(fieldsOf(person({ accessToken: 'eyJ0eXAi.e30._-~+/=', refreshToken: '0.AX~|!' }))).toEqual([])
})

const sourceOf = (slug: string, id: string, enabled = true) => ({
  ...testSource,
  slug,
  enabled,
  tenant: { kind: 'single' as const, id },
})

test('ids are lower-cased, and a person of a tenant that no source takes is refused', () => {
  const user = person()
  const id = user.tenantId.toLowerCase()
  expect(signedInUser.parse(user).tenantId).toBe(id)
  expect(reportedUserOf([sourceOf('one', id)]).parse(user)).toMatchObject({ source: 'one', tenantId: id })
  const wrong = (sources: (typeof testSource)[], told: object = {}) =>
    reportedUserOf(sources)
      .safeParse({ ...user, ...told })
      .error?.issues.map(({ path: at }) => at.join('.'))
  expect(wrong([sourceOf('one', randomUUID())])).toEqual(['tenantId'])
  expect(wrong([sourceOf('one', id, false)])).toEqual(['tenantId'])
  expect(wrong([])).toEqual(['tenantId'])
})

test('of several sources the one that takes the tenant is meant, or the one that is named', () => {
  const user = person()
  const id = user.tenantId.toLowerCase()
  const sources = [sourceOf('other', randomUUID()), sourceOf('one', id), sourceOf('off', id, false)]
  const chosen = (shape: ReturnType<typeof reportedUserOf>, told: object = {}) => {
    const { data, error } = shape.safeParse({ ...user, ...told })
    return data?.source ?? error?.issues.map(({ path: at }) => at.join('.'))
  }
  expect(chosen(reportedUserOf(sources))).toBe('one')
  expect(chosen(reportedUserOf(sources), { source: 'one' })).toBe('one')
  expect(chosen(reportedUserOf(sources), { source: 'other' })).toEqual(['tenantId'])
  expect(chosen(reportedUserOf(sources), { source: 'off' })).toEqual(['source'])
  expect(chosen(reportedUserOf(sources), { source: 'none' })).toEqual(['source'])
  const both = reportedUserOf([...sources, sourceOf('two', id)])
  expect(chosen(both)).toEqual(['source'])
  expect(chosen(both, { source: 'two' })).toBe('two')
})

test('a path to return to is short enough for several cookies', () => {
  expect(safeReturnTo(`/${'a'.repeat(500)}`)).toHaveLength(501)
  expect(safeReturnTo(`/${'a'.repeat(600)}`)).toBe('/')
  expect(safeReturnTo(`/${'語'.repeat(100)}`)).toBe('/')
})

test('a logged error shows its kind, code and stack, and nothing a driver hung on it', () => {
  const lines: string[] = []
  const error = Object.assign(new Error('WRONGPASS'), { code: 'ERR', command: { args: ['wrong-S3cret-pw'] } })
  createLog('info', { write: (line) => void lines.push(line) }).warn(
    { err: new Error('outer', { cause: error }) },
    'failed',
  )
  expect(lines.join('')).not.toContain('S3cret')
  expect(JSON.parse(lines[0] ?? '')).toMatchObject({
    err: { message: 'outer', cause: { message: 'WRONGPASS', code: 'ERR' } },
  })
})

test('two first starts at once agree on the keys', async () => {
  const home = mkdtempSync(path.join(tmpdir(), 'entra-group-sync-keys-'))
  const keys = fileURLToPath(new URL('../src/embedded/keys.ts', import.meta.url))
  const script = `const { keepSecrets } = await import(${JSON.stringify(keys)}); console.log(keepSecrets(${JSON.stringify(home)}).tokenKeys)`
  const one = async () => {
    const child = spawn(process.execPath, ['--input-type=module', '-e', script], {
      stdio: ['ignore', 'pipe', 'inherit'],
    })
    let printed = ''
    child.stdout.on('data', (chunk: Buffer) => (printed += chunk.toString()))
    await once(child, 'close')
    return printed
  }
  expect(new Set(await Promise.all([one(), one(), one(), one()])).size).toBe(1)
  rmSync(home, { recursive: true, force: true })
})
