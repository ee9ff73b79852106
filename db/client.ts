import { drizzle, type PostgresJsDatabase } from 'drizzle-orm/postgres-js'
import postgres, { type Sql } from 'postgres'

export type Database = PostgresJsDatabase & { $client: Sql }

export type DatabaseOptions = {
  /** Connections in the pool; default 10. */
  max?: number
  /** False for PgBouncer in transaction mode, where named prepared statements hang. Default true. */
  prepare?: boolean
  /** Seconds until a connection attempt fails; default 10. */
  connectTimeoutSeconds?: number
  /** What `pg_stat_activity` shows. */
  applicationName?: string
}

/**
 * Opens a pool; nothing connects before the first query. drizzle makes the postgres.js client pass timestamps
 * through as text, so raw statements take and give ISO strings, never `Date`.
 */
export function openDatabase(url: string, options: DatabaseOptions = {}): Database {
  const client = postgres(url, {
    max: options.max ?? 10,
    prepare: options.prepare ?? true,
    connect_timeout: options.connectTimeoutSeconds ?? 10,
    connection: { application_name: options.applicationName ?? 'entra-group-sync' },
    // Asking for the array types is a query of the driver's own, whose failure on a breaking connection nobody can catch:
    // it would end the process. So arrays travel as text or JSON.
    fetch_types: false,
    onnotice: () => undefined,
  })
  return drizzle(client)
}

/** Waits up to five seconds for running queries, then closes every connection. */
export async function closeDatabase(db: Database): Promise<void> {
  await db.$client.end({ timeout: 5 })
}

/** Closes every connection at once; queries that run or wait are rejected, and PostgreSQL undoes what they began. */
export async function cutDatabase(db: Database): Promise<void> {
  await db.$client.end({ timeout: 0 })
}
