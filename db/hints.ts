import type { Database } from './client.ts'
import type { DeltaLink } from './delta-links.ts'

const list = (values: readonly string[]) => JSON.stringify(values)

/** Whom a delta resync is about: those of these people whom the source knows. Resolves with how many are new to it. */
export async function hintUsers(
  db: Database,
  { resyncId, tenantId, source }: { resyncId: string; tenantId: string; source: string },
  objectIds: readonly string[],
): Promise<number> {
  const { count } = await db.$client`
    insert into resync_users (resync_id, user_id)
    select ${resyncId}, u.id from users u join delegated_tokens t on t.user_id = u.id and t.source = ${source}
    where u.tenant_id = ${tenantId} and u.disabled_by is distinct from 'local'
      and u.object_id in (select json_array_elements_text(${list(objectIds)}::text::json))
    on conflict (resync_id, user_id) do nothing`
  return count
}

/** The same for everybody who is stored in one of these groups. */
export async function hintMembers(
  db: Database,
  { resyncId, tenantId, source }: { resyncId: string; tenantId: string; source: string },
  groupIds: readonly string[],
): Promise<number> {
  const { count } = await db.$client`
    insert into resync_users (resync_id, user_id)
    select distinct ${resyncId}::uuid, u.id
    from groups g join memberships m on m.group_id = g.id and m.origin = 'entra'
      join users u on u.id = m.user_id join delegated_tokens t on t.user_id = u.id and t.source = ${source}
    where g.tenant_id = ${tenantId} and g.object_id in (select json_array_elements_text(${list(groupIds)}::text::json))
      and u.tenant_id = ${tenantId} and u.disabled_by is distinct from 'local'
    on conflict (resync_id, user_id) do nothing`
  return count
}

/**
 * Whom the round before was about, and not the one before that, once more: Graph tells of a change at once, and answers from
 * an index that may not know of it for minutes. Rounds that are older than an hour don't count.
 */
export async function hintAgain(
  db: Database,
  { resyncId, source }: { resyncId: string; source: string },
): Promise<number> {
  const { count } = await db.$client`
    with rounds as (
      select id, row_number() over (order by started_at desc) as back from resyncs
      where source = ${source} and mode = 'delta' and state = 'done' and id <> ${resyncId}
        and ended_at > clock_timestamp() - interval '1 hour'
      order by started_at desc limit 2
    )
    insert into resync_users (resync_id, user_id)
    select distinct ${resyncId}::uuid, r.user_id from sync_runs r join rounds on rounds.id = r.resync_id and rounds.back = 1
    where not exists (
      select from sync_runs b join rounds on rounds.id = b.resync_id and rounds.back = 2 where b.user_id = r.user_id)
    on conflict (resync_id, user_id) do nothing`
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

/**
 * Everybody who is hinted at is known: the resync ends when they are done. With it the links of the next round are stored,
 * so that a worker that dies before reads the same round again.
 */
export async function endHints(
  db: Database,
  {
    resyncId,
    source,
    requests,
    resourceUnits,
  }: {
    resyncId: string
    source: string
    requests: number
    resourceUnits: number
  },
  links: readonly DeltaLink[],
): Promise<void> {
  await db.$client`
    with stored as (
      insert into delta_links (source, resource, link, obtained_at)
      select ${source}, resource, link, clock_timestamp()
      from json_to_recordset(${JSON.stringify(links)}::text::json) as l(resource text, link text)
      on conflict (source, resource) do update set link = excluded.link, obtained_at = excluded.obtained_at
    ), people as (select count(*)::int as many from resync_users where resync_id = ${resyncId})
    update resyncs set all_taken = true, due = done + people.many, taken = done + people.many,
      requests = requests + ${requests}, resource_units = resource_units + ${resourceUnits}
    from people where id = ${resyncId} and state = 'running'`
}
