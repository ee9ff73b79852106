import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { randomBytes } from 'node:crypto'
import { tmpdir } from 'node:os'
import path from 'node:path'
import postgres from 'postgres'
import { afterEach, beforeEach, describe, expect, inject, test } from 'vitest'
import { z } from 'zod'
import { migrateDatabase } from '../db/migrate.ts'
import { freePort } from '../src/embedded/ports.ts'
import { signIn } from '../src/embedded/browser.ts'
import { createTestDatabase } from './support/database.ts'
import { runCommand, type Command } from './support/process.ts'
import { availableBackends } from './support/world.ts'

let home: string
const running: Command[] = []
const closers: (() => Promise<unknown>)[] = []

beforeEach(() => {
  home = mkdtempSync(path.join(tmpdir(), 'entra-group-sync-command-'))
})
afterEach(async () => {
  for (const { child, ended } of running.splice(0).toReversed()) {
    if (child.exitCode === null) child.kill('SIGTERM')
    await ended
  }
  for (const close of closers.splice(0).toReversed()) await close()
  rmSync(home, { recursive: true, force: true })
})

function run(args: readonly string[], environment: Record<string, string> = {}): Command {
  const command = runCommand(args, environment)
  running.push(command)
  return command
}

const summary = z.object({
  users: z.number(),
  groupsCreated: z.number(),
  memberships: z.number(),
  outcomes: z.record(z.string(), z.number()),
  p50Ms: z.number(),
  p95Ms: z.number(),
  seconds: z.number(),
})
const lastLine = (command: Command) =>
  summary.parse(JSON.parse(command.printed().trim().split('\n').at(-1) ?? ''))

describe('start with nothing configured', { timeout: 120_000 }, () => {
  test('signs everybody in with --exit: all applied the first time, all unchanged the second', async () => {
    const args = ['start', '--exit', '--json', '--users', '12', '--data', home]
    const first = run(args)
    expect(await first.ended, first.printed()).toBe(0)
    expect(lastLine(first)).toMatchObject({ users: 12, outcomes: { applied: 12 } })
    expect(lastLine(first).memberships).toBeGreaterThan(12)
    const second = run(args)
    expect(await second.ended, second.printed()).toBe(0)
    expect(lastLine(second)).toMatchObject({
      users: 12,
      groupsCreated: 0,
      outcomes: { unchanged: 12 },
      memberships: lastLine(first).memberships,
    })
  })

  test('stays up with the addresses to open, takes over what a killed run left, and stops its server on Ctrl-C', async () => {
    const args = ['start', '--users', '3', '--data', home]
    const killed = run(args)
    await killed.line(/^Ctrl-C stops everything/)
    killed.child.kill('SIGKILL')
    await killed.ended

    const next = run(args)
    await next.line(/of a killed run taken over/)
    const [, publicUrl = ''] = await next.line(/^Sign in: +(\S+?)\/$/)
    await next.line(/^Ctrl-C stops everything/)
    const page = await fetch(publicUrl)
    expect(page.status).toBe(200)
    const [, databaseUrl = ''] = await next.line(/psql '(\S+)'/)
    next.child.kill('SIGINT')
    expect(await next.ended, next.printed()).toBe(0)
    const sql = postgres(databaseUrl, { max: 1, connect_timeout: 2 })
    await expect(sql`select 1`).rejects.toMatchObject({ code: 'ECONNREFUSED' })
    await sql.end()
  })

  test('a second start on the same data says so and leaves the first alone', async () => {
    const first = run(['start', '--users', '3', '--data', home])
    await first.line(/^Ctrl-C stops everything/)
    const second = run(['start', '--users', '3', '--data', home])
    expect(await second.ended).toBe(1)
    expect(second.printed()).toMatch(/another entra-group-sync is running on/)
    const [, publicUrl = ''] = await first.line(/^Sign in: +(\S+)$/)
    expect((await fetch(publicUrl)).status).toBe(200)
  })

  test('a folder that can not be made or written is named, with what to do, and nothing spins or starts', async () => {
    const file = path.join(home, 'a-file')
    writeFileSync(file, '')
    for (const data of ['/proc/nope/deeper', path.join(file, 'below'), file]) {
      const command = run(['start', '--exit', '--data', data])
      expect(await command.ended, data).toBe(1)
      const told = new RegExp(`^--data: ${data} can't be used \\([A-Z]+\\): give a folder`)
      expect(command.printed()).toMatch(told)
      expect(command.printed().split('\n')).toHaveLength(1)
    }
  })

  test('kept keys that are damaged are named, and not replaced', async () => {
    const kept = path.join(home, 'secrets.json')
    writeFileSync(kept, '{"tokenKeys":')
    const command = run(['start', '--exit', '--data', home])
    expect(await command.ended).toBe(1)
    expect(command.printed()).toMatch(/^--data: .*secrets\.json is damaged/)
    expect(readFileSync(kept, 'utf8')).toBe('{"tokenKeys":')
  })

  test('a configuration that is half set is refused, every problem named, before anything starts', async () => {
    const command = run(['start', '--exit', '--data', home], {
      ENTRA_TENANT_ID: '6f1b6c0e-5b2a-4f0e-9a59-0d4e6a5c3b21',
      DATABASE_URL: 'postgres://127.0.0.1:1/none',
      PORT: 'eighty',
    })
    expect(await command.ended).toBe(1)
    const told = command
      .printed()
      .split('\n')
      .map((line) => line.split(':')[0])
    expect(told.toSorted()).toEqual([
      'ENTRA_CLIENT_ID',
      'ENTRA_CLIENT_SECRET',
      'PORT',
      'SESSION_KEYS',
      'TOKEN_ENCRYPTION_KEYS',
    ])
  })
})

describe.each(availableBackends())(
  'gateway and two workers as processes of their own, queue in %s',
  { timeout: 120_000 },
  (backend) => {
    test('sign-ins through the gateway become rows, and every process stops cleanly', async () => {
      const database = await createTestDatabase()
      closers.push(database.close)
      const simulator = run(['simulate', '--users', '6'])
      const settings: Record<string, string> = {
        DATABASE_URL: database.url,
        QUEUE_URL: backend === 'redis' ? inject('redisUrl')! : database.url,
        PORT: String(await freePort()),
        TOKEN_ENCRYPTION_KEYS: `k1:${randomBytes(32).toString('base64')}`,
        SESSION_KEYS: `s1:${randomBytes(32).toString('base64')}`,
      }
      for (const name of [
        'ENTRA_TENANT_ID',
        'ENTRA_CLIENT_ID',
        'ENTRA_CLIENT_SECRET',
        'ENTRA_AUTHORITY_HOST',
        'GRAPH_BASE_URL',
      ]) {
        const [, value = ''] = await simulator.line(new RegExp(`^${name}=(.+)$`))
        settings[name] = value
      }
      const migrate = run(['migrate'], settings)
      expect(await migrate.ended, migrate.printed()).toBe(0)
      const gateway = run(['gateway'], settings)
      const workers = [run(['worker'], settings), run(['worker'], settings)]
      await gateway.line(/gateway listens/)
      for (const worker of workers) await worker.line(/worker started/)

      const people = await peopleOf(settings)
      for (const person of people) await signIn(`http://localhost:${settings['PORT']}`, 'entra-id', person)
      const endings = () =>
        workers.flatMap((worker) => worker.printed().match(/"outcome":"(applied|unchanged)"/g) ?? [])
      while (endings().length < people.length) await Promise.race(workers.map((worker) => nextLine(worker)))
      const [row] = await database.db
        .$client`select count(distinct user_id)::int as synced from sync_runs where outcome = 'applied'`
      expect(row).toEqual({ synced: people.length })
      for (const command of [gateway, ...workers, simulator]) {
        command.child.kill('SIGTERM')
        expect(await command.ended, command.printed()).toBe(0)
      }
    })
  },
)

test('migrate brings an empty database up and prints so', async () => {
  const database = await createTestDatabase()
  closers.push(database.close)
  await migrateDatabase(database.url)
  const command = run(['migrate'], { DATABASE_URL: database.url })
  expect(await command.ended, command.printed()).toBe(0)
  expect(command.printed()).toBe('The database is up to date.')
})

test.for(['start', 'gateway', 'worker', 'migrate', 'simulate'])(
  '%s --help tells its options and exits with 0',
  async (name) => {
    const command = run([name, '--help'])
    expect(await command.ended).toBe(0)
    expect(command.printed()).toMatch(new RegExp(`^Usage: entra-group-sync ${name}`))
  },
)

test.for([
  [['start', '--users', 'many'], /must be a whole number/],
  [['strat'], /unknown command 'strat'/],
  [['gateway'], /DATABASE_URL: is missing[\s\S]*ENTRA_TENANT_ID: is missing[\s\S]*SESSION_KEYS: is missing/],
] as const)('%j is refused with what is wrong', async ([args, message]) => {
  const command = run(args)
  expect(await command.ended).toBe(1)
  expect(command.printed()).toMatch(message)
})

/** Everybody in the simulated tenant, by user principal name. */
async function peopleOf(settings: Record<string, string>): Promise<string[]> {
  const token = await fetch(
    `${settings['ENTRA_AUTHORITY_HOST']}/${settings['ENTRA_TENANT_ID']}/oauth2/v2.0/token`,
    {
      method: 'POST',
      body: new URLSearchParams({
        grant_type: 'client_credentials',
        client_id: settings['ENTRA_CLIENT_ID']!,
        client_secret: settings['ENTRA_CLIENT_SECRET']!,
        scope: 'https://graph.microsoft.com/.default',
      }),
    },
  )
  const { access_token: accessToken } = z.object({ access_token: z.string() }).parse(await token.json())
  const users = await fetch(`${settings['GRAPH_BASE_URL']}/v1.0/users?$select=userPrincipalName`, {
    headers: { authorization: `Bearer ${accessToken}` },
  })
  const page = z.object({ value: z.array(z.object({ userPrincipalName: z.string() })) })
  return page.parse(await users.json()).value.map(({ userPrincipalName }) => userPrincipalName)
}

async function nextLine({ child }: Command): Promise<void> {
  await new Promise<void>((resolve) => child.stderr?.once('data', () => resolve()))
}

describe('what is missing around a process', { timeout: 60_000 }, () => {
  const settings = (databaseUrl: string): Record<string, string> => ({
    DATABASE_URL: databaseUrl,
    ENTRA_TENANT_ID: '6f1b6c0e-5b2a-4f0e-9a59-0d4e6a5c3b21',
    ENTRA_CLIENT_ID: '6f1b6c0e-5b2a-4f0e-9a59-0d4e6a5c3b22',
    ENTRA_CLIENT_SECRET: 'secret',
    TOKEN_ENCRYPTION_KEYS: `k1:${randomBytes(32).toString('base64')}`,
    SESSION_KEYS: `s1:${randomBytes(32).toString('base64')}`,
  })

  test('a gateway starts and serves while Redis is down, and says so', async () => {
    const database = await createTestDatabase()
    closers.push(database.close)
    const port = await freePort()
    const gateway = run(['gateway'], {
      ...settings(database.url),
      QUEUE_URL: 'redis://127.0.0.1:1',
      PORT: `${port}`,
    })
    await gateway.line(/the queue does not answer; sign-ins go on/)
    await gateway.line(/gateway listens/)
    expect((await fetch(`http://127.0.0.1:${port}/readyz`)).status).toBe(200)
    gateway.child.kill('SIGTERM')
    expect(await gateway.ended).toBe(0)
  })

  test('start refuses a queue that does not answer, naming it', async () => {
    for (const queueUrl of ['redis://127.0.0.1:1', 'postgres://nobody@127.0.0.1:1/none']) {
      const command = run(['start', '--exit', '--users', '3', '--data', home], { QUEUE_URL: queueUrl })
      expect(await command.ended, command.printed()).toBe(1)
      expect(command.printed()).toMatch(/^QUEUE_URL: .*127\.0\.0\.1:1 does not answer \(ECONNREFUSED\)$/m)
    }
  })

  test('a worker waits for a Redis that is down, and says so', async () => {
    const database = await createTestDatabase()
    closers.push(database.close)
    const worker = run(['worker'], { ...settings(database.url), QUEUE_URL: 'redis://127.0.0.1:1' })
    await expect(worker.line(/the queue does not answer; waiting for it/)).resolves.toBeDefined()
  })

  test('a database out of reach, not there or not migrated is told as such, without a stack', async () => {
    const database = await createTestDatabase()
    closers.push(database.close)
    await database.db.$client`drop table schema_migrations`
    const none = new URL(database.url)
    none.pathname = '/no_such_database'
    for (const [url, told] of [
      ['postgres://127.0.0.1:1/none', /^DATABASE_URL: the database does not answer \(ECONNREFUSED\)/],
      [none.href, /^DATABASE_URL: there is no such database$/],
      [database.url, /^DATABASE_URL: the tables are missing.*entra-group-sync migrate/],
    ] as const) {
      const worker = run(['worker'], settings(url))
      expect(await worker.ended, worker.printed()).toBe(1)
      expect(worker.printed()).toMatch(told)
      expect(worker.printed()).not.toContain('\n')
    }
  })
})
