import type { Database } from './client.ts'

/** Whom a local token is about. */
export type TokenSubject = {
  userId: string
  tenantId: string
  objectId: string
  kind: 'person' | 'service'
  displayName: string | null
  enabled: boolean
  /** By object id, each once, in their order; of whom is frozen, none. */
  groups: readonly { objectId: string; displayName: string | null }[]
  /** There are more than were asked for. */
  hasMore: boolean
}

/** Who that is, and at most `limit` groups; undefined where nobody is. By our id, or by tenant and object id. */
export async function findTokenSubject(
  db: Database,
  who: { userId: string } | { tenantId: string; objectId: string },
  limit: number,
): Promise<TokenSubject | undefined> {
  const sql = db.$client
  const isThem =
    'userId' in who
      ? sql`u.id = ${who.userId}`
      : sql`u.tenant_id = ${who.tenantId} and u.object_id = ${who.objectId}`
  const [row] = await sql<Omit<TokenSubject, 'hasMore'>[]>`
    select u.id as "userId", u.tenant_id as "tenantId", u.object_id as "objectId", u.kind,
      u.display_name as "displayName", u.enabled,
      coalesce((
        select json_agg(json_build_object('objectId', g.object_id, 'displayName', g.display_name) order by g.object_id)
        from (
          select distinct g.object_id, g.display_name from memberships m join groups g on g.id = m.group_id
          where m.user_id = u.id and g.deleted_at is null and u.frozen_at is null
          order by g.object_id limit ${limit + 1}
        ) g), '[]'::json) as groups
    from users u where ${isThem}`
  return row && { ...row, groups: row.groups.slice(0, limit), hasMore: row.groups.length > limit }
}
