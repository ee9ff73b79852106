import { spawn } from 'node:child_process'
import { once } from 'node:events'
import {
  existsSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  realpathSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { startEmbeddedPostgres } from '../src/embedded/postgres.ts'
import { fileIn } from './support/files.ts'

let home: string
const dataIn = (folder: string) => path.join(folder, 'postgres')
const serverRuns = (folder = home) => existsSync(path.join(dataIn(folder), 'postmaster.pid'))
const start = (signal?: AbortSignal) => startEmbeddedPostgres({ home, database: 'one', signal })

function remove(folder: string): void {
  // Run by root, the files may be elsewhere, behind a link.
  if (existsSync(dataIn(folder))) rmSync(realpathSync(dataIn(folder)), { recursive: true, force: true })
  rmSync(folder, { recursive: true, force: true })
}

beforeAll(async () => {
  home = mkdtempSync(path.join(tmpdir(), 'entra-group-sync-embedded-'))
  const first = await start()
  await first.stop()
})
afterAll(() => remove(home))

test('a server whose database can not be made is stopped again', async () => {
  await expect(startEmbeddedPostgres({ home, database: '' })).rejects.toMatchObject({
    code: 'database_failed',
  })
  expect(serverRuns()).toBe(false)
})

test('a server that does not let its starter in is stopped again', async () => {
  const file = path.join(home, 'postgres-password')
  const password = readFileSync(file)
  writeFileSync(file, 'another')
  await expect(start()).rejects.toMatchObject({ code: 'database_failed' })
  expect(serverRuns()).toBe(false)
  writeFileSync(file, password)
})

test('a start that is refused, since another one owns the server, leaves that server running', async () => {
  const first = await start()
  await expect(start()).rejects.toMatchObject({ code: 'config_invalid' })
  expect(serverRuns()).toBe(true)
  await first.stop()
  expect(serverRuns()).toBe(false)
})

test('a start that is given up while its data is being made leaves neither a server nor a draft', async () => {
  const fresh = mkdtempSync(path.join(tmpdir(), 'entra-group-sync-embedded-'))
  const givenUp = new AbortController()
  const begun = fileIn(fresh, 'postgres-password').then(() => givenUp.abort())
  const { signal } = givenUp
  await expect(startEmbeddedPostgres({ home: fresh, database: 'one', signal })).rejects.toMatchObject({
    name: 'AbortError',
  })
  await begun
  expect(serverRuns(fresh)).toBe(false)
  expect(existsSync(path.join(dataIn(fresh), 'PG_VERSION'))).toBe(false)
  expect(readdirSync(fresh).filter((name) => name.startsWith('postgres.new'))).toEqual([])
  remove(fresh)
})

test('a start that is given up while the server starts leaves none running', async () => {
  const givenUp = new AbortController()
  const begun = fileIn(realpathSync(dataIn(home)), 'postmaster.pid').then(() => givenUp.abort())
  await expect(start(givenUp.signal)).rejects.toMatchObject({ name: 'AbortError' })
  await begun
  expect(serverRuns()).toBe(false)
})

test('a process that exits without stopping its server ends after the server, whose data is kept', async () => {
  const module = fileURLToPath(new URL('../src/embedded/postgres.ts', import.meta.url))
  const script = `const { startEmbeddedPostgres } = await import(${JSON.stringify(module)})
    await startEmbeddedPostgres({ home: ${JSON.stringify(home)}, database: 'one' })
    process.on('SIGINT', () => process.exit(130))
    console.log('started')
    setInterval(() => undefined, 1000)`
  const child = spawn(process.execPath, ['--input-type=module', '-e', script], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  await once(createInterface({ input: child.stdout }), 'line')
  expect(serverRuns()).toBe(true)
  child.kill('SIGINT')
  expect(await once(child, 'close')).toEqual([130, null])
  expect(serverRuns()).toBe(false)
  const next = await start()
  expect(next.takenOver).toBe(false)
  await next.stop()
})
