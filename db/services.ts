import type { Database } from './client.ts'

export type StoredService = {
  userId: string
  enabled: boolean
  /** The database's clock: ISO 8601 in UTC, with microseconds. */
  now: string
  /** When the read behind its memberships began, in the same form; null before the first. */
  snapshotAt: string | null
  digest: string | null
  /** Seconds since they were last; null before. */
  syncedSecondsAgo: number | null
}

/**
 * The row of a service, made where there is none, by tenant and object id: what it is stays, whatever its app is called.
 * Undefined where a person has that id. It never waits for a run that holds the row.
 */
export async function keepService(
  db: Database,
  { tenantId, objectId, appId }: { tenantId: string; objectId: string; appId: string },
): Promise<StoredService | undefined> {
  // Nothing is found where another first exchange made the row after this statement began.
  return (
    (await tryKeep(db, { tenantId, objectId, appId })) ?? (await tryKeep(db, { tenantId, objectId, appId }))
  )
}

async function tryKeep(
  db: Database,
  { tenantId, objectId, appId }: { tenantId: string; objectId: string; appId: string },
): Promise<StoredService | undefined> {
  const [row] = await db.$client<StoredService[]>`
    with made as (
      insert into users (tenant_id, object_id, kind, app_id, display_name)
      values (${tenantId}, ${objectId}, 'service', ${appId}, ${appId})
      on conflict (tenant_id, object_id) do nothing
      returning id, enabled, snapshot_at, membership_digest, last_synced_at
    ), service as (
      select id, enabled, snapshot_at, membership_digest, last_synced_at from made
      union all
      select id, enabled, snapshot_at, membership_digest, last_synced_at from users
      where tenant_id = ${tenantId} and object_id = ${objectId} and kind = 'service'
    )
    select id as "userId", enabled,
      to_char(clock_timestamp() at time zone 'utc', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') as now,
      to_char(snapshot_at at time zone 'utc', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') as "snapshotAt",
      membership_digest as digest,
      extract(epoch from clock_timestamp() - last_synced_at)::float8 as "syncedSecondsAgo"
    from service limit 1`
  return row
}
