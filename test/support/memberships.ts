import { randomUUID } from 'node:crypto'
import type { Database } from '../../db/client.ts'

export type Stored = { id: string; tenantId: string; objectId: string }

export async function storeGroup(
  db: Database,
  { tenantId = randomUUID(), displayName = null }: { tenantId?: string; displayName?: string | null } = {},
): Promise<Stored> {
  const [row] = await db.$client<Stored[]>`
    insert into groups (tenant_id, object_id, display_name) values (${tenantId}, ${randomUUID()}, ${displayName})
    returning id, tenant_id as "tenantId", object_id as "objectId"`
  return row!
}

export async function storeUser(
  db: Database,
  { tenantId = randomUUID(), displayName = null }: { tenantId?: string; displayName?: string | null } = {},
): Promise<Stored> {
  const [row] = await db.$client<Stored[]>`
    insert into users (tenant_id, object_id, display_name) values (${tenantId}, ${randomUUID()}, ${displayName})
    returning id, tenant_id as "tenantId", object_id as "objectId"`
  return row!
}

/** As an application writes its own memberships: it need not log them. */
export async function joinLocally(db: Database, userId: string, groupId: string): Promise<void> {
  await db.$client`insert into memberships (user_id, group_id, origin) values (${userId}, ${groupId}, 'local')`
}

/** As a run adds one: membership and log in one statement, of one time. */
export async function joinByRun(db: Database, userId: string, groupIds: readonly string[]): Promise<void> {
  await db.$client`
    with added as (
      insert into memberships (user_id, group_id, origin, run_id)
      select ${userId}, id::uuid, 'entra', gen_random_uuid() from json_array_elements_text(${JSON.stringify(groupIds)}::text::json) id
      returning *
    )
    insert into membership_changes (user_id, group_id, origin, change, run_id, at)
    select user_id, group_id, origin, 'added', run_id, since from added`
}
