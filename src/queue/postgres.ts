import { runMigrations, type PgPool } from 'bullmq'
import { ConfigInvalid } from '../errors.ts'
import type { ConnectionUse } from './redis.ts'

/** BullMQ's tables have a schema of their own beside ours. */
export const queueSchema = 'bullmq'

/**
 * A pool for BullMQ's Postgres backend. `search_path` is how that backend finds its tables; `enable_seqscan=off` keeps
 * it from scanning every job when the planner's statistics are stale, as they are on a queue that has just drained.
 */
export async function openQueuePool(url: string, use: ConnectionUse, max: number): Promise<PgPool> {
  const { Pool: PgPool } = (await loadDriver()).default
  const pool = new PgPool({
    connectionString: url,
    max,
    options: `-c search_path=${queueSchema} -c enable_seqscan=off`,
    application_name: 'entra-group-sync queue',
    keepAlive: true,
    connectionTimeoutMillis: use === 'producer' ? 1000 : 10_000,
  })
  pool.setMaxListeners(0)
  // A connection that breaks while BullMQ holds it has no listener of its own.
  pool.on('connect', (client) => void client.on('error', () => undefined))
  // An idle connection that breaks is replaced on the next query; unheard, the event would end the process.
  pool.on('error', () => undefined)
  return pool
}

/** Brings BullMQ's own tables up to date; it holds an advisory lock meanwhile, so any number may call at once. */
export async function migrateQueue(url: string): Promise<void> {
  const pool = await openQueuePool(url, 'worker', 1)
  try {
    const client = await pool.connect()
    try {
      await runMigrations(client, queueSchema)
    } finally {
      client.release()
    }
  } finally {
    await pool.end()
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
