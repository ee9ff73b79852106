import type { ISql } from 'postgres'
import type { Database } from './client.ts'
import { readAgain } from './read-again.ts'
import { transaction } from './transaction.ts'

export type SharedGroups = {
  /** The database's clock before anybody is asked about them: ISO 8601 in UTC, with microseconds. */
  now: string
  objectIds: string[]
}

/** Which of these groups are not known to be deleted and have members of origin `entra`, at most `limit`. */
export async function findSharedGroups(
  db: Database,
  groupIds: readonly string[],
  limit: number,
): Promise<SharedGroups> {
  const [row] = await db.$client<SharedGroups[]>`
    select to_char(clock_timestamp() at time zone 'utc', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') as now,
      coalesce(json_agg(shared.object_id), '[]') as "objectIds"
    from (
      select g.object_id from groups g
      where g.id = any(${`{${groupIds.join(',')}}`}::text::uuid[]) and g.deleted_at is null
        and exists (select from memberships m where m.group_id = g.id and m.origin = 'entra')
      order by g.object_id limit ${limit}
    ) shared`
  return row ?? { now: '', objectIds: [] }
}

/** Which of these groups of a tenant have a row and are not known to be deleted. */
export async function findKnownGroups(
  db: Database,
  tenantId: string,
  objectIds: readonly string[],
): Promise<SharedGroups> {
  const [row] = await db.$client<SharedGroups[]>`
    select to_char(clock_timestamp() at time zone 'utc', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') as now,
      coalesce(json_agg(object_id order by object_id), '[]') as "objectIds"
    from groups
    where tenant_id = ${tenantId} and deleted_at is null
      and object_id in (select json_array_elements_text(${JSON.stringify(objectIds)}::text::json))`
  return row ?? { now: '', objectIds: [] }
}

/**
 * Whether somebody is stored in a group of a tenant, by whom those are found who have more through it; or it is deleted, and
 * whoever was in it is hinted at already.
 */
export async function isInhabited(db: Database, tenantId: string, objectId: string): Promise<boolean> {
  const { count } = await db.$client`
    select from groups g where tenant_id = ${tenantId} and object_id = ${objectId}
      and (deleted_at is not null or exists (select from memberships m where m.group_id = g.id and m.origin = 'entra'))`
  return count > 0
}

/** How many memberships of origin `entra` these groups of a tenant have together. */
export async function countMemberships(
  db: Database,
  tenantId: string,
  objectIds: readonly string[],
): Promise<number> {
  const [row] = await db.$client<{ many: number }[]>`
    select count(*)::int as many from memberships m join groups g on g.id = m.group_id
    where g.tenant_id = ${tenantId} and m.origin = 'entra'
      and g.object_id in (select json_array_elements_text(${JSON.stringify(objectIds)}::text::json))`
  return row?.many ?? 0
}

/** Which of these groups of a tenant are known to be deleted, by object id. */
export async function listDeleted(
  db: Database,
  tenantId: string,
  objectIds: readonly string[],
): Promise<string[]> {
  const rows = await db.$client<{ objectId: string }[]>`
    select object_id as "objectId" from groups
    where tenant_id = ${tenantId} and deleted_at is not null
      and object_id in (select json_array_elements_text(${JSON.stringify(objectIds)}::text::json))`
  return rows.map(({ objectId }) => objectId)
}

export type Deletion = {
  tenantId: string
  objectIds: readonly string[]
  /** When it was proven, ISO 8601 by the database's clock: a read that began later knows better. */
  at: string
  /** What the change log names as the cause; its id must not have removed the same memberships before. */
  run: { id: string }
}

/** What {@link markGroupsDeleted} did. */
export type Deleted = { groups: number; memberships: number }

/** Another person must join a group in between this often for its deletion to be left to the next who notices. */
const attempts = 20

/**
 * Marks groups as deleted in Entra; their memberships of origin `entra` leave for everybody, in the change log, and those
 * people's next read is compared in full. Local memberships stay. Nothing happens to a group that was listed by a read
 * which began later, nor to one without a row.
 *
 * A transaction a group, so that a group leaves whole and never waits for another. Within it people are locked before
 * the group, as reconciling does, and in one order. The group is then locked against new members; whoever has become one
 * before that isn't locked, and the transaction begins again. The digest becomes one that equals no other, not null: so a
 * plan that was made before is void even where the digest was null. Once they have left nobody knows who was in the group,
 * and so in what that was in: the next round of changes reads them.
 */
export async function markGroupsDeleted(db: Database, deletion: Deletion): Promise<Deleted> {
  const total = { groups: 0, memberships: 0 }
  for (const objectId of new Set(deletion.objectIds)) {
    for (let attempt = 1; attempt <= attempts; attempt += 1) {
      const marked = await transaction(db, (sql) => markDeleted(sql, deletion, objectId))
      if (marked?.late) continue
      total.groups += marked?.marked ? 1 : 0
      total.memberships += marked?.memberships ?? 0
      break
    }
  }
  return total
}

type Marked = { marked: boolean; late: boolean; memberships: number }

async function markDeleted(
  sql: ISql,
  { tenantId, at, run }: Deletion,
  objectId: string,
): Promise<Marked | undefined> {
  const people = await sql<{ id: string }[]>`
    select u.id from users u
    where u.id in (
      select m.user_id from memberships m join groups g on g.id = m.group_id
      where g.tenant_id = ${tenantId} and g.object_id = ${objectId} and m.origin = 'entra')
    order by u.id for no key update`
  const [group] = await sql<{ id: string }[]>`
    select id from groups where tenant_id = ${tenantId} and object_id = ${objectId} for update`
  if (!group) return undefined
  // A statement of its own: it sees whoever joined while the last one waited.
  const [marked] = await sql<Marked[]>`
    with member as materialized (
      select m.user_id, u.snapshot_at > ${at}::timestamptz and u.membership_digest is not null as newer
      from memberships m join users u on u.id = m.user_id where m.group_id = ${group.id} and m.origin = 'entra'
    ), late as materialized (
      select from member where user_id <> all(${`{${people.map(({ id }) => id).join(',')}}`}::text::uuid[])
    ), marked as (
      update groups set deleted_at = greatest(deleted_at, ${at}::timestamptz)
      where id = ${group.id} and last_seen_at <= ${at}::timestamptz
        and not exists (select from late) and not exists (select from member where newer)
      returning id
    ), removed as (
      delete from memberships m using marked where m.group_id = marked.id and m.origin = 'entra' returning m.user_id
    ), logged as (
      insert into membership_changes (user_id, group_id, origin, change, run_id)
      select user_id, ${group.id}::uuid, 'entra', 'removed', ${run.id}::uuid from removed
    ), forgotten as (
      update users u set membership_digest = 'void ' || gen_random_uuid() from removed where u.id = removed.user_id
    ), unread as (
      ${readAgain(sql, sql`select user_id, clock_timestamp() as told_at, clock_timestamp() as due_at from removed`)}
    )
    select exists (select from marked) as marked, exists (select from late) as late,
      (select count(*) from removed)::int as memberships`
  return marked
}
