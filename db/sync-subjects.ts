import type { Database } from './client.ts'
import { settles } from './resync-people.ts'

export type SyncSubject = {
  userId: string
  tenantId: string
  objectId: string
  /** The database's clock: every process orders snapshots by this one. ISO 8601 in UTC, with microseconds. */
  now: string
  /** Days since the last sign-in; null where there was none. */
  awayDays: number | null
}

/**
 * Whom a sync job is about, and what time it is; undefined where the user is gone. Where the job is of a resync, `isSettled`
 * says that this one waits for no run of theirs: it is cancelled, or they have been read since they were taken. Whose last
 * run of an ended resync failed still wants one, since their job can be replayed.
 */
export async function findSyncSubject(
  db: Database,
  userId: string,
  resyncId?: string,
): Promise<(SyncSubject & { isSettled: boolean }) | undefined> {
  const sql = db.$client
  const isSettled =
    resyncId === undefined
      ? sql`false`
      : sql`case
          when exists (select from resyncs where id = ${resyncId} and state = 'cancelled') then true
          when exists (select from resync_users where resync_id = ${resyncId} and user_id = users.id)
            then not ${isWaitedFor(db, resyncId)}
          else (
            select outcome from sync_runs where user_id = users.id and resync_id = ${resyncId}
            order by started_at desc limit 1) is distinct from 'failed'
        end`
  const [row] = await sql<(SyncSubject & { isSettled: boolean })[]>`
    select ${subjectColumns(db)}, ${isSettled} as "isSettled" from users where id = ${userId}`
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
    select ${subjectColumns(db)}
    from users where id in (select value::uuid from json_array_elements_text(${JSON.stringify(userIds)}::text::json))
      and ${isWaitedFor(db, resyncId, { ofApp: true })}
    order by id`
}

/** Taken by the resync, and not read since: the next step would count nothing of theirs. By indexes, as a step does it. */
function isWaitedFor(db: Database, resyncId: string, { ofApp = false } = {}) {
  const sql = db.$client
  return sql`exists (
    select from resync_users w where w.resync_id = ${resyncId} and w.user_id = users.id
      and (select true from sync_runs r where ${settles(sql, resyncId, { ofApp })} limit 1) is null)`
}

function subjectColumns(db: Database) {
  return db.$client`id as "userId", tenant_id as "tenantId", object_id as "objectId",
      to_char(clock_timestamp() at time zone 'utc', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') as now,
      (extract(epoch from clock_timestamp() - last_login_at) / 86400)::float8 as "awayDays"`
}
