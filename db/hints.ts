import type { ISql, PendingQuery, Row } from 'postgres'
import type { Database } from './client.ts'
import type { DeltaLink } from './delta-links.ts'
import { settledAfterSeconds } from './read-again.ts'
import { transaction } from './transaction.ts'

const list = (values: readonly string[]) => JSON.stringify(values)

export type HintedResync = { resyncId: string; tenantId: string; source: string }

/**
 * Whom a delta resync is about: those of these people whom the source knows. Resolves with how many are new to it. Who was
 * taken already is taken anew, since a read that has begun by now may not show what is told now. They stay hinted at until
 * they are read late enough, which who is disabled here isn't before that ends. A resync that has ended takes nobody.
 */
export async function hintUsers(
  db: Database,
  { resyncId, tenantId, source }: HintedResync,
  objectIds: readonly string[],
): Promise<number> {
  const { $client: sql } = db
  const people = sql`
    select u.id, u.disabled_by is distinct from 'local' as is_read
    from users u join delegated_tokens t on t.user_id = u.id and t.source = ${source}
    where u.tenant_id = ${tenantId} and u.kind = 'person' and u.object_id in (select json_array_elements_text(${list(objectIds)}::text::json))`
  return await takeAgain(sql, { resyncId, source }, people)
}

/** The same for everybody who is stored in one of these groups. */
export async function hintMembers(
  db: Database,
  { resyncId, tenantId, source }: HintedResync,
  groupIds: readonly string[],
): Promise<number> {
  const { $client: sql } = db
  const people = sql`
    select distinct u.id, u.disabled_by is distinct from 'local' as is_read
    from groups g join memberships m on m.group_id = g.id and m.origin = 'entra'
      join users u on u.id = m.user_id join delegated_tokens t on t.user_id = u.id and t.source = ${source}
    where g.tenant_id = ${tenantId} and g.object_id in (select json_array_elements_text(${list(groupIds)}::text::json))
      and u.tenant_id = ${tenantId} and u.kind = 'person'`
  return await takeAgain(sql, { resyncId, source }, people)
}

/**
 * The lock keeps the resync from ending before those it has taken are stored; the order keeps two rounds at once from waiting
 * for each other.
 */
async function takeAgain(
  sql: ISql,
  { resyncId, source }: { resyncId: string; source: string },
  people: PendingQuery<Row[]>,
): Promise<number> {
  const [row] = await sql<{ many: number }[]>`
    with running as materialized (
      select id, clock_timestamp() as now from resyncs where id = ${resyncId} and state = 'running' for share
    ), people as materialized (${people} order by 1
    ), told as (
      insert into delta_hints (source, user_id, told_at, due_at)
      select ${source}, people.id, now, now + ${settledAfterSeconds} * interval '1 second' from running cross join people
      on conflict (source, user_id) do update set told_at = excluded.told_at, due_at = excluded.due_at
    ), taken as (
      insert into resync_users (resync_id, user_id) select running.id, people.id from running cross join people where is_read
      on conflict (resync_id, user_id) do update set taken_at = clock_timestamp(), enqueued_at = null
      returning xmax = 0 as is_new
    )
    select count(*) filter (where is_new)::int as many from taken`
  return row?.many ?? 0
}

/** People who are taken again at once. Everybody may be due, and a statement that takes them all keeps steps waiting. */
export const maxAgain = 20_000

/**
 * Takes those once more of whom was told a while ago and who haven't been read late enough since, whatever became of the
 * resync that took them: Graph tells of a change at once, and answers from an index that may not know of it for minutes. Who
 * can't be read at all is taken in growing intervals. Those first who have been due for longest; the next round takes whom this
 * one has no room for.
 */
export async function hintAgain(db: Database, { resyncId, tenantId, source }: HintedResync): Promise<number> {
  const { count } = await db.$client`
    with running as materialized (
      select id from resyncs where id = ${resyncId} and state = 'running' for share
    ), longest as materialized (
      select user_id from delta_hints
      where source = ${source} and due_at <= clock_timestamp() and exists (select from running)
      order by due_at, user_id limit ${maxAgain}
    ), waiting as materialized (
      select user_id from delta_hints
      where source = ${source} and due_at <= clock_timestamp() and user_id in (select user_id from longest)
      order by user_id for update
    ), due as (
      update delta_hints set due_at = clock_timestamp() + greatest(
        ${settledAfterSeconds} * interval '1 second', least((clock_timestamp() - told_at) / 2, interval '6 hours'))
      where source = ${source} and user_id in (select user_id from waiting)
      returning user_id
    )
    insert into resync_users (resync_id, user_id)
    select running.id, u.id from running cross join due join users u on u.id = due.user_id
      join delegated_tokens t on t.user_id = u.id and t.source = ${source}
    where u.tenant_id = ${tenantId} and u.kind = 'person' and u.disabled_by is distinct from 'local'
    order by u.id
    on conflict (resync_id, user_id) do update set taken_at = clock_timestamp(), enqueued_at = null`
  return count
}

/** What groups are called now, as told at a moment; a null leaves what is stored, and so does what is older than that. */
export async function labelGroups(
  db: Database,
  tenantId: string,
  beganAt: string,
  groups: readonly {
    objectId: string
    displayName: string | null
    description: string | null
    mail: string | null
  }[],
): Promise<void> {
  await db.$client`
    update groups g set display_name = coalesce(t."displayName", g.display_name),
      description = coalesce(t.description, g.description), mail = coalesce(t.mail, g.mail),
      last_seen_at = ${beganAt}::timestamptz
    from json_to_recordset(${JSON.stringify(groups)}::text::json)
      as t("objectId" text, "displayName" text, description text, mail text)
    where g.tenant_id = ${tenantId} and g.object_id = t."objectId" and g.last_seen_at <= ${beganAt}::timestamptz`
}

/** People of a round who are taken though nothing is told about them: enough to catch up, few enough to go unnoticed. */
const maxLeftOver = 500

/**
 * Everybody who is hinted at is known: the resync ends when they are done. With it the links of the next round are stored,
 * so that a worker that dies before reads the same round again. False, and nothing is stored, where the resync has ended
 * meanwhile: then the next round reads the same. `anew`: they are new ones of a round that found the old ones forgotten, which
 * others don't take back. `everybody`: what was forgotten may concern anybody, who stays hinted at until they are read late
 * enough, by the resync of everybody or from so many seconds on by rounds.
 */
export async function endHints(
  db: Database,
  about: HintedResync & {
    requests: number
    resourceUnits: number
    anew?: boolean
    everybody?: { dueInSeconds: number } | undefined
  },
  links: readonly DeltaLink[],
): Promise<boolean> {
  const { resyncId, source, tenantId, requests, resourceUnits, anew = false, everybody } = about
  return await transaction(db, async (sql) => {
    // Locked first, so that what is counted below is as the last step has left it.
    const running =
      await sql`select from resyncs where id = ${resyncId} and state = 'running' for no key update`
    if (running.count === 0) return false
    if (everybody) await hintEverybody(sql, about, everybody)
    // Not for a source that another worker knows with another tenant by now.
    await sql`
      insert into delta_links (source, resource, link, obtained_at)
      select ${source}, resource, link, clock_timestamp()
      from json_to_recordset(${JSON.stringify(links)}::text::json) as l(resource text, link text)
      where not exists (select from sources where slug = ${source} and tenant_id <> ${tenantId})
      on conflict (source, resource) do update set link = excluded.link, obtained_at = excluded.obtained_at
      where ${anew} or delta_links.obtained_at > '-infinity'`
    await takeLeftOver(sql, about)
    await sql`
      with people as (select count(*)::int as many from resync_users where resync_id = ${resyncId})
      update resyncs set all_taken = true, due = done + people.many, taken = done + people.many,
        requests = requests + ${requests}, resource_units = resource_units + ${resourceUnits}
      from people where id = ${resyncId}`
    return true
  })
}

/** Those too who are disabled here, and read once that ends. */
async function hintEverybody(
  sql: ISql,
  { source, tenantId }: HintedResync,
  { dueInSeconds }: { dueInSeconds: number },
): Promise<void> {
  await sql`
    insert into delta_hints (source, user_id, told_at, due_at)
    select ${source}, u.id, now, now + ${dueInSeconds} * interval '1 second'
    from clock_timestamp() now, users u join delegated_tokens t on t.user_id = u.id and t.source = ${source}
    where u.tenant_id = ${tenantId} and u.kind = 'person'
    order by u.id
    on conflict (source, user_id) do update set told_at = excluded.told_at, due_at = excluded.due_at`
}

/**
 * What was told of somebody is told once. So whoever could not be read in the last resync of either mode is taken again,
 * and whoever signed in and could never be.
 */
async function takeLeftOver(sql: ISql, { resyncId, source, tenantId }: HintedResync): Promise<void> {
  await sql`
    with last as materialized (
      select distinct on (mode) id from resyncs
      where source = ${source} and state in ('done', 'held') order by mode, ended_at desc
    ), behind as (
      select s.user_id as id from sync_runs s
      where s.resync_id in (select id from last) and s.outcome in ('failed', 'denied', 'needs_login') and not exists (
        select from sync_runs later where later.user_id = s.user_id and later.started_at > s.started_at
          and later.outcome in ('applied', 'unchanged'))
      union
      select id from users where last_synced_at is null
    )
    insert into resync_users (resync_id, user_id)
    select ${resyncId}, u.id
    from behind join users u on u.id = behind.id join delegated_tokens t on t.user_id = u.id and t.source = ${source}
    where u.tenant_id = ${tenantId} and u.kind = 'person' and u.disabled_by is distinct from 'local'
    order by random() limit ${maxLeftOver}
    on conflict (resync_id, user_id) do nothing`
}
