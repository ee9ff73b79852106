import type { Database } from './client.ts'

export type SyncSubject = {
  userId: string
  tenantId: string
  objectId: string
  /** The database's clock: every process orders snapshots by this one. ISO 8601 in UTC, with microseconds. */
  now: string
  /** Days since the last sign-in; null where there was none. */
  awayDays: number | null
  /** The resync that the job is of is cancelled. */
  cancelled: boolean
}

/** Whom a sync job is about, and what time it is; undefined where the user is gone. */
export async function findSyncSubject(
  db: Database,
  userId: string,
  resyncId?: string,
): Promise<SyncSubject | undefined> {
  const sql = db.$client
  const [row] = await sql<SyncSubject[]>`
    select ${subjectColumns(db, resyncId)}
    from users where id = ${userId}`
  return row
}

/** The people of a batch whom the resync still waits for, in the order of their ids; who is not stored is left out. */
export async function findBatchSubjects(
  db: Database,
  userIds: readonly string[],
  resyncId: string,
): Promise<SyncSubject[]> {
  const sql = db.$client
  return await sql<SyncSubject[]>`
    select ${subjectColumns(db, resyncId)}
    from users where id in (select value::uuid from json_array_elements_text(${JSON.stringify(userIds)}::text::json))
      and exists (select from resync_users where resync_id = ${resyncId} and user_id = users.id)
    order by id`
}

function subjectColumns(db: Database, resyncId?: string) {
  return db.$client`id as "userId", tenant_id as "tenantId", object_id as "objectId",
      to_char(clock_timestamp() at time zone 'utc', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') as now,
      (extract(epoch from clock_timestamp() - last_login_at) / 86400)::float8 as "awayDays",
      exists (select from resyncs where id = ${resyncId ?? null}::uuid and state = 'cancelled') as cancelled`
}
