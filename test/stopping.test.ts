import { spawn, spawnSync } from 'node:child_process'
import { randomBytes, randomUUID } from 'node:crypto'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { createServer, type AddressInfo, type Server } from 'node:net'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { loadConfig } from '../src/config.ts'
import { openContext } from '../src/context.ts'
import { createLog } from '../src/log.ts'
import { createTestDatabase, type TestDatabase } from './support/database.ts'
import { waitForWaiter } from './support/locks.ts'
import { runCommand } from './support/process.ts'

const deadQueue = 'redis://127.0.0.1:1'
let database: TestDatabase
/** Nobody is connected to this one but its one connection. */
let quiet: TestDatabase
let silent: Server

beforeAll(async () => {
  database = await createTestDatabase()
  quiet = await createTestDatabase({ max: 1 })
  silent = createServer((socket) => void socket.on('error', () => undefined)).listen(0, '127.0.0.1')
  await once(silent, 'listening')
})
afterAll(async () => {
  silent.close()
  await database.close()
  await quiet.close()
})

const settings = (given: Record<string, string> = {}): Record<string, string> => ({
  DATABASE_URL: database.url,
  ENTRA_TENANT_ID: '6f1b6c0e-5b2a-4f0e-9a59-0d4e6a5c3b21',
  ENTRA_CLIENT_ID: '6f1b6c0e-5b2a-4f0e-9a59-0d4e6a5c3b22',
  ENTRA_CLIENT_SECRET: 'secret',
  TOKEN_ENCRYPTION_KEYS: `k1:${randomBytes(32).toString('base64')}`,
  SESSION_KEYS: `s1:${randomBytes(32).toString('base64')}`,
  ...given,
})

/** Until nobody else is connected to the quiet database. */
async function nobodyConnected(): Promise<void> {
  for (;;) {
    const connected = await quiet.db.$client`select from pg_stat_activity
      where datname = current_database() and pid <> pg_backend_pid()`
    if (connected.length === 0) return
  }
}

describe('a command that is still opening ends at a signal, as the signal would', { timeout: 60_000 }, () => {
  test.for([
    ['gateway', []],
    ['worker', []],
    ['migrate', []],
    ['approve', [randomUUID()]],
    ['keys', ['rotate']],
  ] as const)('%s, at a database that is silent', async ([name, args]) => {
    const { port } = silent.address() as AddressInfo
    const asked = once(silent, 'connection')
    const given = settings({ DATABASE_URL: `postgres://127.0.0.1:${port}/none` })
    const command = runCommand([name, ...args], given)
    await asked
    command.child.kill('SIGTERM')
    expect(await command.ended, command.printed()).toBe(143)
    expect(command.printed()).toBe('')
  })

  test.for([
    ['migrate', [], 'select pg_advisory_lock(5137202411)'],
    ['keys', ['rotate'], 'lock table delegated_tokens'],
    ['approve', [randomUUID(), '--wait', '3600'], 'lock table sync_runs'],
  ] as const)('%s, in the middle of its work, by Ctrl-C', async ([name, args, lock]) => {
    const given = settings({ QUEUE_URL: deadQueue })
    let command: ReturnType<typeof runCommand> | undefined
    await database.db.$client.begin(async (sql) => {
      await sql.unsafe(lock)
      command = runCommand([name, ...args], given)
      await waitForWaiter(database.db)
      command.child.kill('SIGINT')
      expect(await command.ended, command.printed()).toBe(130)
      await sql`select pg_advisory_unlock_all()`
    })
    expect(command?.printed()).not.toContain('\n')
  })

  test('worker, waiting for a queue, whose failure it tells by its code', async () => {
    const worker = runCommand(['worker'], settings({ DATABASE_URL: quiet.url, QUEUE_URL: deadQueue }))
    const [line] = await worker.line(/the queue does not answer; waiting for it/)
    expect(line.length).toBeGreaterThan(0)
    expect(worker.printed()).toContain('"code":"ECONNREFUSED"')
    worker.child.kill('SIGTERM')
    expect(await worker.ended, worker.printed()).toBe(143)
    await nobodyConnected()
  })
})

test('a context that is given up while it waits for the queue closes what it opened, and tells no more', async () => {
  const given = loadConfig(settings({ DATABASE_URL: quiet.url, QUEUE_URL: deadQueue }))
  const logged: string[] = []
  const giveUp = new AbortController()
  const log = createLog('debug', {
    write: (line) => {
      logged.push(line)
      giveUp.abort(new Error('given up'))
    },
  })
  await expect(openContext(given, log, { signal: giveUp.signal })).rejects.toThrow('given up')
  await nobodyConnected()
  expect(logged).toHaveLength(1)
})

/** Whether a process may be the first of a set of its own here, as in a container. */
const hasNamespaces = spawnSync('unshare', ['-p', '-f', 'true']).status === 0
if (!hasNamespaces) {
  process.stderr.write('\n!!! THE TEST AS PROCESS 1 IS SKIPPED. It needs unshare, and root.\n\n')
}

test.skipIf(!hasNamespaces)(
  'a worker that is process 1 ends at SIGTERM while it waits for a queue',
  { timeout: 60_000 },
  async () => {
    const cli = fileURLToPath(new URL('../src/cli.ts', import.meta.url))
    const around = spawn('unshare', ['-p', '-f', '--kill-child', process.execPath, cli, 'worker'], {
      env: { PATH: process.env['PATH'], ...settings({ QUEUE_URL: deadQueue }) },
      stdio: ['ignore', 'inherit', 'pipe'],
    })
    const ended = once(around, 'exit')
    try {
      for await (const line of createInterface({ input: around.stderr })) {
        if (line.includes('waiting for it')) break
      }
      const children = readFileSync(`/proc/${around.pid}/task/${around.pid}/children`, 'utf8')
      process.kill(Number(children.trim()), 'SIGTERM')
      expect(await ended).toEqual([143, null])
    } finally {
      around.kill('SIGKILL')
    }
  },
)
