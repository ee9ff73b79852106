import { mkdtempSync, realpathSync, rmSync } from 'node:fs'
import { once } from 'node:events'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { freePort } from '../src/embedded/ports.ts'
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

test('a certificate that simulate can not write is told as --ca, without a stack', async () => {
  const file = path.join(home, 'no', 'such', 'folder.pem')
  const command = runCommand(['simulate', '--users', '1', '--ca', file])
  expect(await command.ended).toBe(1)
  expect(command.printed()).toBe(`--ca: ${file} can't be written (ENOENT)`)
})
