import type { Database } from './client.ts'
import { signingOut, standingOf, type Standing } from './entra-standing.ts'
import { labelRows, labelsOfNewest, uuids, type GroupLabels } from './group-labels.ts'
import { waitingAtMost } from './lock-timeout.ts'
import { labelling, readJoinedAgain, settleUser } from './settled-user.ts'
import { isNewer } from './snapshot-order.ts'
import type { HeldBy, Run } from './sync-runs.ts'

export type StoredGroup = GroupLabels & {
  id: string
  objectId: string
  /** Marked deleted before the read in question began. */
  deleted: boolean
  /** Its labels come from a read that began after the one in question. */
  newer: boolean
}

/** Groups with hidden membership, and groups at all with their names. */
export type ReadReach = { hidden: boolean; groups: boolean }

export type PersonLabels = {
  displayName: string | null
  userPrincipalName: string | null
  mail: string | null
  otherMails: readonly string[] | null
}

export type Read = {
  userId: string
  tenantId: string
  /** When the read began: ISO 8601. */
  beganAt: string
  digest: string
  /** How many groups were read. */
  remote: number
  /** What the token let be seen. */
  reach: ReadReach
  /** Labels of the person; null leaves what is stored. */
  person?: PersonLabels | undefined
  /** Left out where it wasn't told. */
  standing?: Standing | undefined
  run: Run
  /** Milliseconds to wait for each lock, then PostgreSQL refuses (55P03); left out, as long as it takes. */
  lockTimeoutMs?: number | undefined
}

/** The state of a user's row that a plan was made from: the plan is void when it has changed. */
export type Basis = { snapshotAt: string | null; digest: string | null; reach: ReadReach }

/** What a plan is made from. */
export type Loaded = {
  basis: Basis
  /** Groups of the tenant of which the user has a membership of origin `entra`. */
  members: StoredGroup[]
  /** Other groups of the tenant out of those that were read. */
  others: StoredGroup[]
}

/** Groups as one value, a JSON array a column: a third faster than rows for a thousand. All null where none. */
type GroupColumns = {
  ids: string[] | null
  objectIds: string[]
  displayNames: (string | null)[]
  descriptions: (string | null)[]
  mails: (string | null)[]
  securityEnabled: (boolean | null)[]
  mailEnabled: (boolean | null)[]
  groupTypes: (string[] | null)[]
  deleted: boolean[]
  newer: boolean[]
}

/**
 * One statement, and the only one for an unchanged user: where the digest is the stored one it moves the user's times and
 * records the run (`unchanged`); where a newer read was applied already it only records the run (`stale`); else it writes
 * nothing (`changed`). Undefined where the tenant has no such user.
 *
 * Neither record waits for the disk: a server that crashes in the next moment forgets that a read has shown nothing new,
 * never a membership.
 */
export async function touchUnchanged(
  db: Database,
  read: Read,
): Promise<'unchanged' | 'stale' | 'changed' | undefined> {
  const { userId, tenantId, beganAt, run } = read
  const sql = db.$client
  const [row] = await sql<{ outcome: 'unchanged' | 'stale' | 'changed' }[]>`
    with person as (
      select id, snapshot_at from users where id = ${userId} and tenant_id = ${tenantId}
    ), touched as (
      update users set snapshot_at = ${beganAt}, last_synced_at = clock_timestamp(), sync_state = 'synced', frozen_at = null,
        hidden_read = ${read.reach.hidden}, groups_read = groups_read or ${read.reach.groups}${labelling(db, read)}${standingOf(db, read)}
      where id = ${userId} and tenant_id = ${tenantId} and membership_digest = ${read.digest}
        and not ${isNewer(db, beganAt)}${waitingAtMost(db, read.lockTimeoutMs)}
      returning id, enabled
    )${signingOut(db, read, 'touched')}, recorded as (
      insert into sync_runs (id, user_id, source, cause, resync_id, started_at, outcome, graph_request_id, remote_count,
        requests, resource_units)
      select ${run.id}::uuid, p.id, ${run.source}, ${run.cause}, ${run.resyncId ?? null}::uuid,
        ${run.startedAt}::timestamptz, case when t.id is null then 'stale' else 'unchanged' end,
        ${run.graphRequestId ?? null}, ${read.remote}, ${run.cost?.requests ?? 0}, ${run.cost?.resourceUnits ?? 0}
      from person p left join touched t on true
      where t.id is not null or ${isNewer(db, beganAt)}
      returning outcome, set_config('synchronous_commit', 'off', true)
    )
    select coalesce(r.outcome, 'changed') as outcome from person left join recorded r on true`
  return row?.outcome
}

/** One statement: the state that a plan starts from, as of one moment. Undefined where the tenant has no such user. */
export async function loadStored(
  db: Database,
  read: Pick<Read, 'userId' | 'tenantId' | 'beganAt'>,
  objectIds: readonly string[],
): Promise<Loaded | undefined> {
  const { userId, tenantId, beganAt } = read
  const sql = db.$client
  const [row] = await sql<(Basis & { members: GroupColumns; others: GroupColumns })[]>`
    with member as materialized (
      select g.* from memberships m join groups g on g.id = m.group_id
      where m.user_id = ${userId} and m.origin = 'entra' and g.tenant_id = ${tenantId}
    ), other as materialized (
      select g.*
      from (
        select asked as object_id from json_array_elements_text(${JSON.stringify(objectIds)}::text::json) asked
        except select object_id from member
      ) unknown join groups g on g.tenant_id = ${tenantId} and g.object_id = unknown.object_id
    )
    select u.snapshot_at as "snapshotAt", u.membership_digest as digest, 
      json_build_object('hidden', u.hidden_read, 'groups', u.groups_read) as reach,
      (select ${groupColumns(db, beganAt)} from member g) as members,
      (select ${groupColumns(db, beganAt)} from other g) as others
    from users u where u.id = ${userId} and u.tenant_id = ${tenantId}`
  if (!row) return undefined
  const { snapshotAt, digest, reach, members, others } = row
  return { basis: { snapshotAt, digest, reach }, members: groupsOf(members), others: groupsOf(others) }
}

function groupColumns(db: Database, beganAt: string) {
  return db.$client`json_build_object(
    'ids', json_agg(g.id), 'objectIds', json_agg(g.object_id), 'displayNames', json_agg(g.display_name),
    'descriptions', json_agg(g.description), 'mails', json_agg(g.mail),
    'securityEnabled', json_agg(g.security_enabled), 'mailEnabled', json_agg(g.mail_enabled),
    'groupTypes', json_agg(g.group_types),
    'deleted', json_agg(g.deleted_at is not null and g.deleted_at <= ${beganAt}::timestamptz),
    'newer', json_agg(g.last_seen_at > ${beganAt}::timestamptz))`
}

function groupsOf(columns: GroupColumns): StoredGroup[] {
  return (columns.ids ?? []).map((id, at) => ({
    id,
    objectId: columns.objectIds[at] ?? '',
    displayName: columns.displayNames[at] ?? null,
    description: columns.descriptions[at] ?? null,
    mail: columns.mails[at] ?? null,
    securityEnabled: columns.securityEnabled[at] ?? null,
    mailEnabled: columns.mailEnabled[at] ?? null,
    groupTypes: columns.groupTypes[at] ?? null,
    deleted: columns.deleted[at] ?? false,
    newer: columns.newer[at] ?? false,
  }))
}

export type Writes = {
  /**
   * Ids of groups whose removal was planned and is held back: the user is then not synced, and the next read is compared
   * in full.
   */
  held?: readonly string[]
  heldBy?: HeldBy | undefined
  create: readonly (GroupLabels & { objectId: string })[]
  update: readonly (GroupLabels & { objectId: string; id: string })[]
  add: readonly string[]
  remove: readonly string[]
}

export type Written = {
  outcome: 'applied' | 'unchanged' | 'held'
  groupsCreated: number
  groupsUpdated: number
  added: number
  removed: number
}

/**
 * One statement, so one transaction: groups, memberships, change log, user and run. Returns what it really did, or
 * undefined, having changed nothing, where the user's row is no longer what the plan was made from or is that of a newer
 * read, or where a group to join has been marked deleted since, by an older proof than the read. The first read of a user
 * is `applied` even if it finds nothing to write: now it is known.
 *
 * - The user's row is locked first, and only against other runs: an insert that refers to it doesn't wait.
 * - Groups are written in the order of their object ids, new and changed ones together, so that two people who sign in
 *   at once to the same groups can't wait for each other in a circle. `do update` gives a row back also where somebody
 *   else has just made the group, which neither `do nothing` nor a select of this statement could see.
 * - The log dates a membership that was added as the membership itself does.
 * - A group that was proven deleted after the read had begun isn't joined, and the digest isn't kept, so that the next
 *   read is compared in full. `for key share` also sees a deletion that commits while this waits for it.
 */
export async function applyWrites(
  db: Database,
  read: Read,
  basis: Basis,
  writes: Writes,
): Promise<Written | undefined> {
  const { userId, tenantId, beganAt, run } = read
  const held = writes.held ?? []
  const updated = new Set(writes.update.map(({ id }) => id))
  const join = writes.add.filter((id) => !updated.has(id))
  const sql = db.$client
  const [row] = await sql<Written[]>`
    with person as materialized (
      select id from users
      where id = ${userId} and tenant_id = ${tenantId}
        and snapshot_at is not distinct from ${basis.snapshotAt}::timestamptz
        and membership_digest is not distinct from ${basis.digest}
        and not ${isNewer(db, beganAt)}${waitingAtMost(db, read.lockTimeoutMs)}
      for no key update
    ), known as materialized (
      select g.id, g.deleted_at from person cross join groups g
      where g.id = any(${uuids(join)}::text::uuid[])
      for key share of g
    ), ready as materialized (
      select id from person where not exists (select from known where deleted_at <= ${beganAt}::timestamptz)
    ), written as (
      insert into groups as g (tenant_id, object_id, display_name, description, mail, security_enabled, mail_enabled,
        group_types, first_seen_at, last_seen_at)
      select ${tenantId}, r.object_id, r.display_name, r.description, r.mail, r.security_enabled::boolean,
        r.mail_enabled::boolean, r.group_types::text[], ${beganAt}::timestamptz, ${beganAt}::timestamptz
      from ready cross join ${labelRows(db, [...writes.create, ...writes.update])}
      order by r.object_id collate "C"
      on conflict (tenant_id, object_id) do update set
        ${labelsOfNewest(db)}, last_seen_at = greatest(g.last_seen_at, excluded.last_seen_at),
        deleted_at = case when g.deleted_at > excluded.last_seen_at then g.deleted_at end
      returning g.id, g.xmax = 0 as created, g.last_seen_at = ${beganAt}::timestamptz as newest,
        g.deleted_at is null as open
    ), added as (
      insert into memberships (user_id, group_id, origin, run_id)
      select ready.id, joined.id, 'entra', ${run.id}::uuid
      from ready cross join (select id from written where open union all select id from known where deleted_at is null) joined
      on conflict (user_id, group_id, origin) do nothing
      returning group_id, since
    ), removed as (
      delete from memberships m
      where exists (select from ready) and m.user_id = ${userId} and m.origin = 'entra'
        and m.group_id = any(${uuids(writes.remove)}::text::uuid[])
      returning m.group_id
    ), logged as (
      insert into membership_changes (user_id, group_id, origin, change, run_id, at)
      select ${userId}::uuid, group_id, 'entra', 'added', ${run.id}::uuid, since from added
      union all
      select ${userId}::uuid, group_id, 'entra', 'removed', ${run.id}::uuid, clock_timestamp() from removed
    ), done as materialized (
      select (select count(*) from written where created)::int as created,
        (select count(*) from written w join unnest(${uuids([...updated])}::text::uuid[]) stored
          on stored = w.id where not w.created and w.newest)::int as updated,
        (select count(*) from added)::int as added,
        (select count(*) from removed)::int as removed,
        exists (select from known where deleted_at is not null)
          or exists (select from written where not open) as skipped
    ), unsettled as (${readJoinedAgain(db)}
    ), settled as (${settleUser(db, read, { held: held.length > 0, removes: writes.remove.length > 0 })}
    )${signingOut(db, read, 'settled')}
    insert into sync_runs (id, user_id, source, cause, resync_id, started_at, outcome, graph_request_id, remote_count,
      groups_created, groups_updated, added, removed, held, held_groups, held_by, requests,
      resource_units)
    select ${run.id}::uuid, ready.id, ${run.source}, ${run.cause}, ${run.resyncId ?? null}::uuid,
      ${run.startedAt}::timestamptz,
      case when ${held.length > 0} then 'held' when done.created + done.updated + done.added + done.removed > 0 or ${basis.snapshotAt}::timestamptz is null
        then 'applied' else 'unchanged' end,
      ${run.graphRequestId ?? null}, ${read.remote}, done.created, done.updated, done.added, done.removed,
      ${held.length}::integer, ${held.length === 0 ? null : uuids(held)}::text::uuid[],
      ${held.length === 0 ? null : (writes.heldBy ?? null)}, ${run.cost?.requests ?? 0}, ${run.cost?.resourceUnits ?? 0}
    from ready cross join done
    returning outcome, groups_created as "groupsCreated", groups_updated as "groupsUpdated", added, removed`
  return row
}
