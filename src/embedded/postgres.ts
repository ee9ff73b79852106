import { existsSync, readFileSync } from 'node:fs'
import path from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import postgres, { type Sql } from 'postgres'
import { SyncError } from '../errors.ts'
import { findBinaries, serverAccount, type Account, type Binaries } from './binaries.ts'
import { openDataDirectory, run } from './data-directory.ts'
import { freePort } from './ports.ts'

export type EmbeddedPostgres = {
  /** Connection URL of the database asked for. */
  url: string
  /** URL of another database of the same server. */
  urlOf: (database: string) => string
  /** True when a server left running by a killed process was taken over. */
  takenOver: boolean
  /** Stops the server (fast shutdown: running statements end, data is flushed). */
  stop: () => Promise<void>
}

export type EmbeddedPostgresOptions = {
  /** Folder that keeps the data directory and the password between runs. */
  home: string
  database: string
  /** Server settings, such as `{ fsync: 'off' }` for throw-away databases. */
  settings?: Record<string, string>
}

/** A session-level advisory lock says which process owns the server; it goes when that process dies, however it dies. */
const ownerLock = 5_137_202_412

const attempts = 20

/**
 * Starts PostgreSQL on loopback, or takes over one that a killed process left behind in the same folder. Runs as root
 * too (see {@link serverAccount}). Two starts at once don't harm the data: PostgreSQL's own lock file lets one server
 * run and the owner lock lets one process use it; the other gets `config_invalid`.
 */
export async function startEmbeddedPostgres(options: EmbeddedPostgresOptions): Promise<EmbeddedPostgres> {
  const account = serverAccount(path.join(options.home, 'postgres'))
  const binaries = findBinaries(account)
  const directory = await openDataDirectory(options.home, account, binaries)
  const urlFor = (port: number) => (database: string) =>
    `postgres://postgres:${encodeURIComponent(directory.password)}@127.0.0.1:${port}/${encodeURIComponent(database)}`

  for (let attempt = 1; ; attempt += 1) {
    const left = runningServer(directory.path)
    const port = left?.port ?? (await startServer(directory.path, account, binaries, options.settings))
    const owner = port === undefined ? undefined : await ownServer(urlFor(port)('postgres'), options.home)
    if (port !== undefined && owner) {
      await ensureDatabase(owner, options.database)
      return {
        url: urlFor(port)(options.database),
        urlOf: urlFor(port),
        takenOver: left !== undefined,
        stop: async () => {
          await owner.end({ timeout: 1 })
          await run(binaries.pgCtl, ['stop', '-D', directory.path, '-m', 'fast', '-w', '-t', '60'], account)
        },
      }
    }
    if (attempt === attempts) {
      throw new SyncError(
        'config_invalid',
        `embedded PostgreSQL did not start; its log is ${path.join(directory.path, 'server.log')}`,
      )
    }
    await delay(250)
  }
}

/** From `postmaster.pid`: line 1 is the process, line 4 the port. A process that is gone means no server. */
function runningServer(dataDirectory: string): { port: number } | undefined {
  const pidFile = path.join(dataDirectory, 'postmaster.pid')
  if (!existsSync(pidFile)) return undefined
  const [pid, , , port] = readFileSync(pidFile, 'utf8').split('\n')
  if (!pid || !port?.trim() || !isAlive(Number(pid))) return undefined
  return { port: Number(port) }
}

function isAlive(pid: number): boolean {
  try {
    return process.kill(pid, 0)
  } catch (error) {
    return error instanceof Error && 'code' in error && error.code === 'EPERM'
  }
}

/** The port, or undefined where another process started a server here in the same moment. */
async function startServer(
  dataDirectory: string,
  account: Account,
  binaries: Binaries,
  settings: Record<string, string> = {},
): Promise<number | undefined> {
  const port = await freePort()
  const all = {
    listen_addresses: '127.0.0.1',
    unix_socket_directories: '',
    max_connections: '200',
    ...settings,
  }
  const flags = Object.entries(all).map(([name, value]) => `-c ${name}='${value}'`)
  try {
    await run(
      binaries.pgCtl,
      [
        'start',
        '-D',
        dataDirectory,
        '-l',
        path.join(dataDirectory, 'server.log'),
        '-w',
        '-t',
        '60',
        '-o',
        [`-p ${port}`, ...flags].join(' '),
      ],
      account,
    )
    return port
  } catch (error) {
    if (runningServer(dataDirectory)) return undefined
    throw error
  }
}

/** The connection that holds the owner lock, or undefined while the server can't be reached (starting or stopping). */
async function ownServer(url: string, home: string): Promise<Sql | undefined> {
  const sql = postgres(url, {
    max: 1,
    max_lifetime: null,
    fetch_types: false,
    connection: { application_name: 'entra-group-sync owner' },
    onnotice: () => undefined,
  })
  try {
    for (let attempt = 1; attempt <= attempts; attempt += 1) {
      const [row] = await sql<{ owned: boolean }[]>`select pg_try_advisory_lock(${ownerLock}) as owned`
      if (row?.owned) return sql
      await delay(100)
    }
  } catch {
    await sql.end({ timeout: 1 })
    return undefined
  }
  await sql.end({ timeout: 1 })
  throw new SyncError(
    'config_invalid',
    `another entra-group-sync is running on ${home}: stop it first, or set DATABASE_URL`,
  )
}

async function ensureDatabase(sql: Sql, database: string): Promise<void> {
  const found = await sql`select 1 from pg_database where datname = ${database}`
  if (found.length === 0) await sql`create database ${sql(database)}`
}
