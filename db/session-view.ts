import type { Database } from './client.ts'

export type SessionGroup = {
  id: string
  objectId: string
  displayName: string | null
  /** A person can be in one group both ways; that is two entries. */
  origin: 'entra' | 'local'
  /** Since when: ISO 8601. */
  since: string
}

/** Who somebody is. */
export type Profile = {
  id: string
  tenantId: string
  objectId: string
  displayName: string | null
  userPrincipalName: string | null
  mail: string | null
}

export type SessionView = {
  user: Profile
  groups: readonly SessionGroup[]
  freshness: {
    /** ISO 8601; null before the first run that proved the memberships. */
    syncedAt: string | null
    state: string
    /** When the person last asked for a sync that no run has ended since; else null. */
    askedAt: string | null
  }
}

/** What a signed-in person may see of themselves: profile, memberships by name, and how fresh they are. */
export async function findSessionView(db: Database, userId: string): Promise<SessionView | undefined> {
  const sql = db.$client
  const iso = (column: string) =>
    sql`to_char(${sql(column)} at time zone 'utc', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"')`
  const [user] = await sql<(SessionView['user'] & SessionView['freshness'])[]>`
    select id, tenant_id as "tenantId", object_id as "objectId", display_name as "displayName",
      user_principal_name as "userPrincipalName", mail, sync_state as state,
      ${iso('last_synced_at')} as "syncedAt",
      case when sync_asked_at > clock_timestamp() - interval '10 minutes' and not exists (
          select from sync_runs r where r.user_id = users.id and r.ended_at > sync_asked_at)
        then ${iso('sync_asked_at')} end as "askedAt"
    from users where id = ${userId}`
  if (!user) return undefined
  const groups = await sql<SessionGroup[]>`
    select g.id, g.object_id as "objectId", g.display_name as "displayName", m.origin, ${iso('m.since')} as since
    from memberships m join groups g on g.id = m.group_id
    where m.user_id = ${user.id} and g.deleted_at is null
    order by lower(g.display_name) nulls last, g.object_id, m.origin`
  const { state, syncedAt, askedAt, ...profile } = user
  return { user: profile, groups: [...groups], freshness: { syncedAt, state, askedAt } }
}

/** When the person has asked, for {@link withdrawSyncAsk}; undefined where they had within so many seconds already. */
export async function askForSync(
  db: Database,
  userId: string,
  everySeconds: number,
): Promise<string | undefined> {
  const [row] = await db.$client<{ askedAt: string }[]>`
    update users set sync_asked_at = clock_timestamp()
    where id = ${userId} and (sync_asked_at is null
      or sync_asked_at < clock_timestamp() - ${everySeconds} * interval '1 second')
    returning sync_asked_at::text as "askedAt"`
  return row?.askedAt
}

/** What was asked for then doesn't come: the person may ask again at once. */
export async function withdrawSyncAsk(db: Database, userId: string, askedAt: string): Promise<void> {
  await db.$client`
    update users set sync_asked_at = null where id = ${userId} and sync_asked_at = ${askedAt}::text::timestamptz`
}
