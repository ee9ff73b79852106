import type { Database } from './client.ts'

export type SessionGroup = {
  id: string
  objectId: string
  displayName: string | null
  /** A person can be in one group both ways; that is two entries. */
  origin: 'entra' | 'local'
}

export type SessionView = {
  user: {
    id: string
    tenantId: string
    objectId: string
    displayName: string | null
    userPrincipalName: string | null
    mail: string | null
  }
  groups: readonly SessionGroup[]
  freshness: {
    /** ISO 8601; null before the first run that proved the memberships. */
    syncedAt: string | null
    state: string
  }
}

/** What a signed-in person may see of themselves: profile, memberships by name, and how fresh they are. */
export async function findSessionView(
  db: Database,
  tenantId: string,
  objectId: string,
): Promise<SessionView | undefined> {
  const sql = db.$client
  const [user] = await sql<(SessionView['user'] & SessionView['freshness'])[]>`
    select id, tenant_id as "tenantId", object_id as "objectId", display_name as "displayName",
      user_principal_name as "userPrincipalName", mail, sync_state as state,
      to_char(last_synced_at at time zone 'utc', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"') as "syncedAt"
    from users where tenant_id = ${tenantId} and object_id = ${objectId}`
  if (!user) return undefined
  const groups = await sql<SessionGroup[]>`
    select g.id, g.object_id as "objectId", g.display_name as "displayName", m.origin
    from memberships m join groups g on g.id = m.group_id
    where m.user_id = ${user.id} and g.deleted_at is null
    order by lower(g.display_name) nulls last, g.object_id, m.origin`
  const { state, syncedAt, ...profile } = user
  return { user: profile, groups: [...groups], freshness: { syncedAt, state } }
}
