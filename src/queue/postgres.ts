import { once } from 'node:events'
import { connect } from 'node:net'
import { createPostgresBackend, runMigrations, type PgPool, type PgPoolClient } from 'bullmq'
import type { EventedPool } from 'pg'
import { ConfigInvalid } from '../errors.ts'
import type { ConnectionUse } from './redis.ts'

/** BullMQ's tables have a schema of their own beside ours. */
export const queueSchema = 'bullmq'

const connectWithinMs = 10_000

/**
 * A pool for BullMQ's Postgres backend. `search_path` is how that backend finds its tables; `enable_seqscan=off` keeps
 * it from scanning every job when the planner's statistics are stale, as they are on a queue that has just drained.
 */
export async function openQueuePool(url: string, use: ConnectionUse, max: number): Promise<EventedPool> {
  const { Pool: PgPool } = (await loadDriver()).default
  const pool = new PgPool({
    connectionString: url,
    max,
    options: `-c search_path=${queueSchema} -c enable_seqscan=off`,
    application_name: 'entra-group-sync queue',
    keepAlive: true,
    connectionTimeoutMillis: use === 'producer' ? 1000 : connectWithinMs,
  })
  pool.setMaxListeners(0)
  // A connection that breaks while BullMQ holds it has no listener of its own.
  pool.on('connect', (client) => void client.on('error', () => undefined))
  // An idle connection that breaks is replaced on the next query; unheard, the event would end the process.
  pool.on('error', () => undefined)
  return pool
}

/** BullMQ leaves its listener on a pool that isn't its own (6.7: PostgresConnection), and with it all of a closed queue. */
export function connectOver(
  pool: EventedPool,
  ...[name, opts, how]: Parameters<typeof createPostgresBackend>
): ReturnType<typeof createPostgresBackend> {
  const before = new Set(pool.listeners('error'))
  const backend = createPostgresBackend(name, { ...opts, connection: pool }, how)
  const left = pool.listeners('error').filter((listener) => !before.has(listener))
  backend.on('close', () => {
    for (const listener of left) pool.off('error', listener)
  })
  return backend
}

/**
 * Brings BullMQ's own tables up to date; it holds an advisory lock meanwhile, so any number may call at once. Aborted,
 * it cuts its connection, and rejects.
 */
export async function migrateQueue(url: string, signal?: AbortSignal): Promise<void> {
  const pool = await openQueuePool(url, 'worker', 1)
  try {
    const client = await firstConnection(pool, url)
    let held = true
    const release = (cut: boolean) => {
      if (held) client.release(cut)
      held = false
    }
    const cut = () => release(true)
    signal?.addEventListener('abort', cut, { once: true })
    try {
      signal?.throwIfAborted()
      await runMigrations(client, queueSchema)
    } finally {
      signal?.removeEventListener('abort', cut)
      release(false)
    }
  } finally {
    await pool.end()
  }
}

/** What node-postgres finds out by itself it throws without a code; what waiting mends gets one here. */
async function firstConnection(pool: PgPool, url: string): Promise<PgPoolClient> {
  const began = performance.now()
  try {
    return await pool.connect()
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code !== undefined) throw error
    const tookTooLong = performance.now() - began >= connectWithinMs
    if (tookTooLong) throw Object.assign(new Error('no connection in time'), { code: 'CONNECT_TIMEOUT' })
    if (asksForTls(url) && !(await offersTls(url))) {
      const message =
        'asks for TLS (sslmode), which this PostgreSQL does not offer: turn it on there, or leave it out'
      throw new ConfigInvalid([{ setting: 'QUEUE_URL', message }])
    }
    throw error
  }
}

function asksForTls(url: string): boolean {
  const { searchParams } = new URL(url)
  return (searchParams.get('sslmode') ?? 'disable') !== 'disable' || searchParams.has('ssl')
}

/** Asks as clients do before TLS begins (PostgreSQL documentation, message formats: SSLRequest); "S" is a yes. */
async function offersTls(url: string): Promise<boolean> {
  const { hostname, port } = new URL(url)
  const socket = connect({
    host: hostname.replace(/^\[|\]$/g, ''),
    port: Number(port || 5432),
    timeout: 2000,
  })
  socket.once('timeout', () => socket.destroy(new Error('no answer')))
  try {
    socket.write(Buffer.from([0, 0, 0, 8, 4, 210, 22, 47]))
    const [answer]: unknown[] = await once(socket, 'data')
    return Buffer.isBuffer(answer) && answer.toString('latin1', 0, 1) === 'S'
  } finally {
    socket.destroy()
  }
}

async function loadDriver(): Promise<typeof import('pg')> {
  try {
    return await import('pg')
  } catch {
    throw new ConfigInvalid([
      { setting: 'QUEUE_URL', message: 'a queue in Postgres needs the package pg: npm install pg' },
    ])
  }
}
