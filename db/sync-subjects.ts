import type { Database } from './client.ts'

export type SyncSubject = {
  userId: string
  tenantId: string
  objectId: string
  /** The database's clock: every process orders snapshots by this one. ISO 8601 in UTC, with microseconds. */
  now: string
}

/** Whom a sync job is about, and what time it is; undefined where the user is gone. */
export async function findSyncSubject(db: Database, userId: string): Promise<SyncSubject | undefined> {
  const sql = db.$client
  const [row] = await sql<SyncSubject[]>`
    select id as "userId", tenant_id as "tenantId", object_id as "objectId",
      to_char(clock_timestamp() at time zone 'utc', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') as now
    from users where id = ${userId}`
  return row
}
