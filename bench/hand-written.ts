import { randomUUID } from 'node:crypto'
import type { Database } from '../db/client.ts'
import type { RemoteMembership } from '../src/snapshot.ts'

/**
 * The floor of every change: what a careful author would write for one user by hand. One set-based statement takes what
 * was read and does the same writes as ours (groups, memberships, change log, user, run) and no more of them; the reading
 * is a join in it. It has no digest, no order of reads and no lock, and gets its columns the fastest way we know.
 */
export async function handWritten(
  db: Database,
  person: { userId: string; tenantId: string },
  remote: readonly RemoteMembership[],
): Promise<void> {
  const sql = db.$client
  const column = (values: readonly (string | boolean | null)[]) =>
    sql`json_array_elements_text(${JSON.stringify(values)}::text::json)`
  const runId = randomUUID()
  await sql`
    with remote as materialized (
      select object_id, display_name, description, mail, security_enabled::boolean, mail_enabled::boolean,
        group_types::text[]
      from rows from (
        ${column(remote.map((group) => group.objectId))}, ${column(remote.map((group) => group.displayName))},
        ${column(remote.map((group) => group.description))}, ${column(remote.map((group) => group.mail))},
        ${column(remote.map((group) => group.securityEnabled))}, ${column(remote.map((group) => group.mailEnabled))},
        ${column(remote.map(({ groupTypes }) => groupTypes && `{${groupTypes.join(',')}}`))}
      ) as r (object_id, display_name, description, mail, security_enabled, mail_enabled, group_types)
    ), stored as materialized (
      select g.id, r.*, (g.display_name, g.description, g.mail, g.security_enabled, g.mail_enabled, g.group_types)
        is distinct from (r.display_name, r.description, r.mail, r.security_enabled, r.mail_enabled, r.group_types) as differs
      from remote r left join groups g on g.tenant_id = ${person.tenantId} and g.object_id = r.object_id
    ), written as (
      insert into groups (tenant_id, object_id, display_name, description, mail, security_enabled, mail_enabled, group_types)
      select ${person.tenantId}, object_id, display_name, description, mail, security_enabled, mail_enabled, group_types
      from stored where id is null or differs
      order by object_id collate "C"
      on conflict (tenant_id, object_id) do update set
        display_name = excluded.display_name, description = excluded.description, mail = excluded.mail,
        security_enabled = excluded.security_enabled, mail_enabled = excluded.mail_enabled,
        group_types = excluded.group_types, last_seen_at = excluded.last_seen_at, deleted_at = null
      returning id
    ), wanted as (
      select id from stored where id is not null union select id from written
    ), current as materialized (
      select m.group_id from memberships m join groups g on g.id = m.group_id
      where m.user_id = ${person.userId} and m.origin = 'entra' and g.tenant_id = ${person.tenantId}
    ), added as (
      insert into memberships (user_id, group_id, origin, run_id)
      select ${person.userId}, id, 'entra', ${runId}::uuid from wanted w
      where not exists (select from current c where c.group_id = w.id)
      returning group_id
    ), removed as (
      delete from memberships m using current c
      where m.user_id = ${person.userId} and m.origin = 'entra' and m.group_id = c.group_id
        and not exists (select from stored s where s.id = c.group_id)
      returning m.group_id
    ), logged as (
      insert into membership_changes (user_id, group_id, origin, change, run_id)
      select ${person.userId}::uuid, group_id, 'entra', 'added', ${runId}::uuid from added
      union all select ${person.userId}::uuid, group_id, 'entra', 'removed', ${runId}::uuid from removed
    ), synced as (
      update users set last_synced_at = clock_timestamp(), snapshot_at = now(), sync_state = 'synced'
      where id = ${person.userId}
    )
    insert into sync_runs (id, user_id, source, cause, started_at, outcome, remote_count, added, removed)
    select ${runId}::uuid, ${person.userId}::uuid, 'bench', 'login', now(), 'applied', ${remote.length},
      (select count(*) from added), (select count(*) from removed)`
}

/** The floor of an unchanged user: the times on one row, and the commit. */
export async function oneRowUpdate(db: Database, userId: string): Promise<void> {
  await db.$client`
    update users set snapshot_at = now(), last_synced_at = clock_timestamp(), sync_state = 'synced' where id = ${userId}`
}
