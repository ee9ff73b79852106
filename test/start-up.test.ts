import { randomBytes } from 'node:crypto'
import { mkdirSync, mkdtempSync, realpathSync, rmSync } from 'node:fs'
import { once } from 'node:events'
import { createServer, type AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { freePort } from '../src/embedded/ports.ts'
import { describeFailure } from '../src/command-failure.ts'
import { toSyncError } from '../src/errors.ts'
import { start } from '../src/start.ts'
import { createTestDatabase, type TestDatabase } from './support/database.ts'
import { runCommand } from './support/process.ts'

let home: string
let database: TestDatabase

beforeAll(async () => {
  home = realpathSync(mkdtempSync(path.join(tmpdir(), 'entra-group-sync-start-')))
  database = await createTestDatabase()
})
afterAll(async () => {
  await database.close()
  rmSync(home, { recursive: true, force: true })
})

const startWith = (environment: Record<string, string>) =>
  start({
    environment: { DATABASE_URL: database.url, LOG_LEVEL: 'silent', ...environment },
    home,
    users: 1,
    say: () => undefined,
  })

test('without PORT the gateway of a start listens where a PUBLIC_URL on loopback leads', async () => {
  const port = await freePort()
  const started = await startWith({ PUBLIC_URL: `http://localhost:${port}` })
  expect(started.config.port).toBe(port)
  expect((await fetch(`http://127.0.0.1:${port}/healthz`)).status).toBe(200)
  await started.stop()
})

test('a start whose PUBLIC_URL leads to a port that is taken says so, naming PORT', async () => {
  const taken = createServer().listen(0, '127.0.0.1')
  await once(taken, 'listening')
  const address = taken.address()
  const port = typeof address === 'object' ? address?.port : undefined
  await expect(startWith({ PUBLIC_URL: `http://localhost:${port}` })).rejects.toMatchObject({
    code: 'config_invalid',
    problems: [{ setting: 'PORT', message: expect.stringContaining(String(port)) }],
  })
  taken.close()
})

test('a port that simulate can not have is told as its option', { timeout: 60_000 }, async () => {
  const taken = createServer().listen(0, '127.0.0.1')
  await once(taken, 'listening')
  const { port } = taken.address() as AddressInfo
  for (const option of ['--entra-port', '--graph-port']) {
    const command = runCommand(['simulate', '--users', '1', option, `${port}`])
    expect(await command.ended).toBe(1)
    expect(command.printed()).toBe(`${option}: port ${port} is taken; give a free one, or 0 for any`)
  }
  taken.close()
})

test('a .env that is a folder is told in one line', async () => {
  const folder = path.join(home, 'with-env')
  mkdirSync(path.join(folder, '.env'), { recursive: true })
  const command = runCommand(['migrate'], { DATABASE_URL: database.url }, folder)
  expect(await command.ended).toBe(1)
  expect(command.printed()).toMatch(/^\.env: can't be read \(\w+\): [^\n]+$/)
})

test.for([
  ['migrate', 'channel_binding=require'],
  ['worker', 'schema=public'],
] as const)(
  'a parameter of the database URL that PostgreSQL does not know is told by %s in one line: %s',
  async ([name, parameter]) => {
    const command = runCommand([name], {
      DATABASE_URL: `${database.url}?${parameter}`,
      ENTRA_TENANT_ID: '6f1b6c0e-5b2a-4f0e-9a59-0d4e6a5c3b21',
      ENTRA_CLIENT_ID: '6f1b6c0e-5b2a-4f0e-9a59-0d4e6a5c3b22',
      ENTRA_CLIENT_SECRET: 'secret',
      TOKEN_ENCRYPTION_KEYS: `k1:${randomBytes(32).toString('base64')}`,
    })
    expect(await command.ended).toBe(1)
    expect(command.printed()).toMatch(/^DATABASE_URL: PostgreSQL does not know a parameter[^\n]+$/)
  },
)

test('an error nobody expected is told by its code or name, without its text, and with its stack when asked', () => {
  const cause = Object.assign(new Error('password hunter2'), { code: '22P02' })
  const error = new TypeError('query with hunter2', { cause })
  const brief = describeFailure(error, false)
  expect(brief).toBe('22P02: unexpected error; LOG_LEVEL=debug shows where it comes from')
  expect(describeFailure(toSyncError(new RangeError('hunter2')), false)).toMatch(/^RangeError: unexpected/)
  const detailed = describeFailure(error, true)
  expect(detailed).toContain('start-up.test.ts')
  expect(detailed).not.toContain('hunter2')
})

test('a certificate that simulate can not write is told as --ca, without a stack', async () => {
  const file = path.join(home, 'no', 'such', 'folder.pem')
  const command = runCommand(['simulate', '--users', '1', '--ca', file])
  expect(await command.ended).toBe(1)
  expect(command.printed()).toBe(`--ca: ${file} can't be written (ENOENT)`)
})
