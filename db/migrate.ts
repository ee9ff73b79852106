import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { sql } from 'drizzle-orm'
import { migrate } from 'drizzle-orm/postgres-js/migrator'
import { z } from 'zod'
import { closeDatabase, cutDatabase, openDatabase, type Database } from './client.ts'

const migrationsFolder = fileURLToPath(new URL('./migrations', import.meta.url))

/** drizzle-kit's list of the committed migrations. */
const journal = z.object({ entries: z.array(z.object({ when: z.number() })) })

/** Any number, the same in every process: whoever holds this advisory lock migrates. */
const migrationLock = 5_137_202_411

/**
 * Brings the tables to this version. Safe when several processes call it at once: drizzle's own migrator isn't, so
 * it runs on one connection that holds an advisory lock. Does nothing on a database that is up to date. Aborted, it
 * leaves the tables as they were and rejects with the signal's reason.
 */
export async function migrateDatabase(url: string, signal?: AbortSignal): Promise<void> {
  signal?.throwIfAborted()
  const db = openDatabase(url, { max: 1, applicationName: 'entra-group-sync migrate' })
  const cut = () => void cutDatabase(db)
  signal?.addEventListener('abort', cut, { once: true })
  try {
    await db.execute(sql`select pg_advisory_lock(${migrationLock})`)
    await migrate(db, { migrationsFolder, migrationsSchema: 'public', migrationsTable: 'schema_migrations' })
  } catch (error) {
    signal?.throwIfAborted()
    throw error
  } finally {
    signal?.removeEventListener('abort', cut)
    await closeDatabase(db)
  }
}

/** Whether the tables are there and at least of this version; who finds them older has to migrate first. */
export async function isMigrated(db: Database): Promise<boolean> {
  const { entries } = journal.parse(
    JSON.parse(readFileSync(`${migrationsFolder}/meta/_journal.json`, 'utf8')),
  )
  const newest = Math.max(...entries.map(({ when }) => when))
  const [table] = await db.$client<
    { found: boolean }[]
  >`select to_regclass('public.schema_migrations') is not null as found`
  if (!table?.found) return false
  const [row] = await db.$client<{ done: boolean }[]>`
    select exists (select from public.schema_migrations where created_at >= ${newest}) as done`
  return row?.done === true
}
