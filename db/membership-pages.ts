import type { Database } from './client.ts'
import type { Profile } from './session-view.ts'

/** A user or a group, by our id or by Entra's; everything in lower case. */
export type ObjectRef = { id: string } | { tenantId: string; objectId: string }

export type PageOf = {
  /** Our id of the last entry before the page; undefined for the first page. */
  after: string | undefined
  limit: number
  /** ISO 8601 in UTC; undefined for the memberships stored now. */
  asOf: string | undefined
}

export type Origin = 'entra' | 'local'

/** A page of a list, and whether more of it follows. */
export type Page<Entry> = { entries: Entry[]; more: boolean }

/** What the entries of both lists have in common. A person can be in a group both ways; that is one entry. */
export type Held = {
  id: string
  tenantId: string
  objectId: string
  displayName: string | null
  origins: Origin[]
  /** Of the origin that began first: ISO 8601 with microseconds. */
  since: string
}

/** Whoever can be in a group: somebody who has signed in, or an app that has exchanged a token. */
export type Kind = 'person' | 'service'

export type Person = Profile & {
  kind: Kind
  enabled: boolean
  frozen: boolean
  syncedAt: string | null
  state: string
}

export type Group = {
  id: string
  tenantId: string
  objectId: string
  displayName: string | null
  deletedAt: string | null
}

export type Member = Held & {
  userPrincipalName: string | null
  kind: Kind
  enabled: boolean
  frozen: boolean
}

/** `future`: whether the moment in question has yet to come, by the clock that dates all changes. */
type At<Row> = Row & { future: boolean }

export async function findPerson(
  db: Database,
  ref: ObjectRef,
  asOf: string | undefined,
): Promise<At<Person> | undefined> {
  const sql = db.$client
  const [row] = await sql<At<Person>[]>`
    select id, tenant_id as "tenantId", object_id as "objectId", display_name as "displayName",
      user_principal_name as "userPrincipalName", mail, kind, enabled, frozen_at is not null as frozen,
      ${iso(db, 'last_synced_at')} as "syncedAt", sync_state as state, ${isFuture(db, asOf)} as future
    from users where ${refersTo(db, ref)}`
  return row
}

export async function findGroup(
  db: Database,
  ref: ObjectRef,
  asOf: string | undefined,
): Promise<At<Group> | undefined> {
  const sql = db.$client
  const [row] = await sql<At<Group>[]>`
    select id, tenant_id as "tenantId", object_id as "objectId", display_name as "displayName",
      ${iso(db, 'deleted_at')} as "deletedAt", ${isFuture(db, asOf)} as future
    from groups where ${refersTo(db, ref)}`
  return row
}

/** A person's groups in the order of our ids; one statement, whatever the size of the page. */
export async function listGroupsOf(db: Database, userId: string, page: PageOf): Promise<Page<Held>> {
  const sql = db.$client
  const rows = await sql<Held[]>`
    with ${pageOf(db, { one: 'user_id', many: 'group_id', id: userId }, page)}
    select g.id, g.tenant_id as "tenantId", g.object_id as "objectId", g.display_name as "displayName",
      p.origins, ${iso(db, 'p.since')} as since
    from page p join groups g on g.id = p.id order by g.id`
  return cut(rows, page.limit)
}

/** The members of a group, likewise. */
export async function listMembersOf(db: Database, groupId: string, page: PageOf): Promise<Page<Member>> {
  const sql = db.$client
  const rows = await sql<Member[]>`
    with ${pageOf(db, { one: 'group_id', many: 'user_id', id: groupId }, page)}
    select u.id, u.tenant_id as "tenantId", u.object_id as "objectId", u.display_name as "displayName",
      u.user_principal_name as "userPrincipalName", p.origins, ${iso(db, 'p.since')} as since, u.kind, u.enabled,
      u.frozen_at is not null as frozen
    from page p join users u on u.id = p.id order by u.id`
  return cut(rows, page.limit)
}

/** From which end of a membership the list is told. */
type Side = { one: 'user_id' | 'group_id'; many: 'user_id' | 'group_id'; id: string }

/** One entry more than the page has tells whether there is a next one. */
function pageOf(db: Database, side: Side, page: PageOf) {
  const sql = db.$client
  const held = page.asOf === undefined ? heldNow(db, side, page) : heldAt(db, side, page, page.asOf)
  return sql`held as (${held}), page as (
      select id, json_agg(origin order by origin) as origins, min(since) as since
      from held group by id order by id limit ${page.limit + 1}
    )`
}

function cut<Entry>(rows: readonly Entry[], limit: number): Page<Entry> {
  return { entries: rows.slice(0, limit), more: rows.length > limit }
}

function heldNow(db: Database, { one, many, id }: Side, { after }: PageOf) {
  const sql = db.$client
  return sql`
    select m.${sql(many)} as id, m.origin, m.since
    from memberships m join groups g on g.id = m.group_id
    where m.${sql(one)} = ${id} and m.${sql(many)} > ${after ?? first} and g.deleted_at is null`
}

/**
 * The last change of each membership up to that moment, last by the log's order and not by its times: the database's clock
 * may have been put back. Local memberships are written by others, who need not log them: one that is stored holds since it
 * says so, and what the log has of them counts as well. Of those, groups that are deleted by then have none.
 */
function heldAt(db: Database, { one, many, id }: Side, { after }: PageOf, asOf: string) {
  const sql = db.$client
  return sql`
    select told.${sql(many)} as id, told.origin, told.since
    from (
      select distinct on (c.${sql(many)}, c.origin) c.user_id, c.group_id, c.origin, c.change, c.at as since
      from membership_changes c
      where c.${sql(one)} = ${id} and c.${sql(many)} > ${after ?? first} and c.at <= ${asOf}::timestamptz
      order by c.${sql(many)}, c.origin, c.id desc
    ) told join groups g on g.id = told.group_id join users u on u.id = told.user_id
    where told.change = 'added' and (told.origin = 'entra' or (
      (g.deleted_at is null or g.deleted_at > ${asOf}::timestamptz) and not exists (
        select from memberships m
        where m.user_id = told.user_id and m.group_id = told.group_id and m.origin = 'local'
          and m.since <= ${asOf}::timestamptz)))
    union all
    select m.${sql(many)}, m.origin, m.since
    from memberships m join groups g on g.id = m.group_id
    where m.${sql(one)} = ${id} and m.${sql(many)} > ${after ?? first} and m.origin = 'local'
      and m.since <= ${asOf}::timestamptz and (g.deleted_at is null or g.deleted_at > ${asOf}::timestamptz)`
}

/** Smaller than every id that is given out. */
const first = '00000000-0000-0000-0000-000000000000'

function refersTo(db: Database, ref: ObjectRef) {
  const sql = db.$client
  return 'id' in ref ? sql`id = ${ref.id}` : sql`tenant_id = ${ref.tenantId} and object_id = ${ref.objectId}`
}

const isFuture = (db: Database, asOf: string | undefined) =>
  asOf === undefined ? db.$client`false` : db.$client`${asOf}::timestamptz > clock_timestamp()`

const iso = (db: Database, column: string) =>
  db.$client`to_char(${db.$client(column)} at time zone 'utc', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')`
