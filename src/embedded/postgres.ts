import path from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import postgres, { type Sql } from 'postgres'
import { isUnreachable } from '../../db/reachable.ts'
import { databaseFailure } from '../database-failure.ts'
import { SyncError } from '../errors.ts'
import { findBinaries, serverAccount } from './binaries.ts'
import { openDataDirectory } from './data-directory.ts'
import { runningServer, serverLog, startServer, stopServer, stopServerAtExit } from './server.ts'

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
  /** Gives up starting: the server is stopped, then it rejects. */
  signal?: AbortSignal | undefined
}

/** A session-level advisory lock says which process owns the server; it goes when that process dies, however it dies. */
const ownerLock = 5_137_202_412

const attempts = 20

/**
 * Starts PostgreSQL on loopback, or takes over one that a killed process left behind in the same folder. Runs as root
 * too (see {@link serverAccount}). Two starts at once don't harm the data: PostgreSQL's own lock file lets one server
 * run and the owner lock lets one process use it; the other gets `config_invalid`. Whatever it rejects with, no server
 * of its own is left running, nor is one when the process exits without stopping it.
 */
export async function startEmbeddedPostgres(options: EmbeddedPostgresOptions): Promise<EmbeddedPostgres> {
  const { home, signal } = options
  const account = serverAccount(path.join(home, 'postgres'))
  const binaries = findBinaries(account)
  const directory = await openDataDirectory(home, account, binaries, signal)
  const place = { dataDirectory: directory.path, account, binaries }
  const urlFor = (port: number) => (database: string) =>
    `postgres://postgres:${encodeURIComponent(directory.password)}@127.0.0.1:${port}/${encodeURIComponent(database)}`

  // Set while the server is this process's to stop.
  let disown: (() => void) | undefined
  try {
    for (let attempt = 1; attempt <= attempts; attempt += 1) {
      signal?.throwIfAborted()
      const left = runningServer(place)
      if (!left) disown ??= stopServerAtExit(place)
      const port = left?.port ?? (await startServer(place, options.settings, signal))
      signal?.throwIfAborted()
      if (port === undefined) {
        disown?.()
        disown = undefined
      }
      const owner = port === undefined ? undefined : await ownServer(urlFor(port)('postgres'), options)
      if (port !== undefined && owner) {
        const takenOver = disown === undefined
        const release = (disown ??= stopServerAtExit(place))
        await ensureDatabase(owner, options.database)
        const stop = async () => {
          await owner.end({ timeout: 1 })
          await stopServer(place)
          release()
        }
        return { url: urlFor(port)(options.database), urlOf: urlFor(port), takenOver, stop }
      }
      await delay(250)
    }
    const message = `embedded PostgreSQL did not start; its log is ${serverLog(place)}`
    throw new SyncError('config_invalid', message)
  } catch (error) {
    if (disown && !(error instanceof OwnedByAnother)) await stopServer(place)
    disown?.()
    throw error
  }
}

/** The server is another process's, whoever started it. */
class OwnedByAnother extends SyncError {}

/** The connection that holds the owner lock, or undefined while the server can't be reached (starting or stopping). */
async function ownServer(url: string, { home, signal }: EmbeddedPostgresOptions): Promise<Sql | undefined> {
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
      if (signal?.aborted) break
      await delay(100)
    }
  } catch (error) {
    await sql.end({ timeout: 1 })
    if (!isUnreachable(error)) throw databaseFailure(error)
    return undefined
  }
  await sql.end({ timeout: 1 })
  throw new OwnedByAnother(
    'config_invalid',
    `another entra-group-sync is running on ${home}: stop it first, or set DATABASE_URL`,
  )
}

async function ensureDatabase(owner: Sql, database: string): Promise<void> {
  try {
    const found = await owner`select 1 from pg_database where datname = ${database}`
    if (found.length === 0) await owner`create database ${owner(database)}`
  } catch (error) {
    await owner.end({ timeout: 1 })
    throw databaseFailure(error)
  }
}
