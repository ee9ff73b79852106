import type { Database } from './client.ts'
import { transaction } from './transaction.ts'

export type NewLoginEvent = {
  eventId: string
  source: string
  tenantId: string
  objectId: string
  userPrincipalName: string | null
  displayName: string | null
  mail: string | null
  sealed: string
  keyId: string
  /** ISO 8601. */
  expiresAt: string
  scopes: readonly string[]
  /** Whom the access token is for: Graph (the default), or our own API. */
  audience?: 'graph' | 'api'
  /** Nothing follows it: its source has no group sync. */
  settled?: boolean
}

export type StoredLoginEvent = {
  eventId: string
  userId: string
  tenantId: string
  source: string
  /** By the database's clock. */
  receivedAt: string
}

/** A service is stored with that object id, and nobody signs in as one. */
export class IsService extends Error {
  constructor() {
    super('a login event is about a service')
    this.name = 'IsService'
  }
}

/**
 * Stores a login event, its user and its sealed tokens in one statement, hence one transaction. Whatever earlier tokens
 * were refused for is over. It never waits for a sync run that holds the user's row: the labels are then left for
 * {@link updateUserLabels}, and `labelled` is false.
 * @throws {IsService} and stores nothing.
 */
export async function insertLoginEvent(
  db: Database,
  event: NewLoginEvent,
): Promise<StoredLoginEvent & { labelled: boolean }> {
  // Nothing comes back where another first sign-in of the same person made the row after this statement began.
  const row = (await tryInsert(db, event)) ?? (await tryInsert(db, event))
  const { eventId, tenantId, source } = event
  if (!row) {
    const { count } = await db.$client`
      select from users where tenant_id = ${tenantId} and object_id = ${event.objectId} and kind = 'service'`
    throw count > 0 ? new IsService() : new Error('the user of a login event was neither found nor made')
  }
  return { eventId, tenantId, source, ...row }
}

async function tryInsert(
  db: Database,
  event: NewLoginEvent,
): Promise<{ userId: string; receivedAt: string; labelled: boolean } | undefined> {
  const sql = db.$client
  const [row] = await sql<{ userId: string; receivedAt: string; labelled: boolean }[]>`
    with made as (
      insert into users (tenant_id, object_id, user_principal_name, display_name, mail, last_login_at)
      values (${event.tenantId}, ${event.objectId}, ${event.userPrincipalName}, ${event.displayName}, ${event.mail},
        clock_timestamp())
      on conflict (tenant_id, object_id) do nothing
      returning id
    ), free as (
      select id from users where tenant_id = ${event.tenantId} and object_id = ${event.objectId} and kind = 'person'
      for no key update skip locked
    ), labelled as (
      update users u set
        user_principal_name = coalesce(${event.userPrincipalName}, u.user_principal_name),
        display_name = coalesce(${event.displayName}, u.display_name),
        mail = coalesce(${event.mail}, u.mail),
        last_login_at = clock_timestamp(),
        enabled = u.disabled_by is distinct from 'local', disabled_by = nullif(u.disabled_by, 'entra')
      from free where u.id = free.id
      returning u.id
    ), person as (
      select id from made
      union all
      select id from users where tenant_id = ${event.tenantId} and object_id = ${event.objectId} and kind = 'person'
    ), tokens as (
      insert into delegated_tokens as t (user_id, source, sealed, version, key_id, expires_at, scopes, audience)
      select id, ${event.source}, ${event.sealed}, ${event.eventId}::uuid, ${event.keyId}, ${event.expiresAt}::timestamptz,
        array(select json_array_elements_text(${JSON.stringify(event.scopes)}::text::json)), ${event.audience ?? 'graph'}
      from person
      on conflict (user_id, source) do update set
        sealed = excluded.sealed, version = excluded.version, key_id = excluded.key_id, expires_at = excluded.expires_at,
        scopes = excluded.scopes, audience = excluded.audience, state = 'valid', reason = null, claims = null,
        updated_at = clock_timestamp()
    )
    insert into login_events (id, source, tenant_id, user_id, enqueued_at)
    select ${event.eventId}::uuid, ${event.source}, ${event.tenantId}, id,
      case when ${event.settled ?? false} then clock_timestamp() end
    from person
    returning user_id as "userId", received_at as "receivedAt",
      exists (select from made) or exists (select from labelled) as labelled`
  return row
}

/** What the sign-in told of the person; null leaves what is stored. Whom Entra lets in it doesn't disable any more. */
export async function updateUserLabels(db: Database, event: NewLoginEvent): Promise<void> {
  const sql = db.$client
  await sql`
    update users set
      user_principal_name = coalesce(${event.userPrincipalName}, user_principal_name),
      display_name = coalesce(${event.displayName}, display_name),
      mail = coalesce(${event.mail}, mail),
      last_login_at = greatest(last_login_at, clock_timestamp()),
      enabled = disabled_by is distinct from 'local', disabled_by = nullif(disabled_by, 'entra')
    where tenant_id = ${event.tenantId} and object_id = ${event.objectId}`
}

/** `isSuperseded`: the person has signed in through another source since, so that a job of this event has nothing to add. */
export type LostLoginEvent = StoredLoginEvent & { isSuperseded: boolean }

/** The queue has taken these events. */
export async function markEnqueued(db: Database, eventIds: readonly string[]): Promise<void> {
  const sql = db.$client
  await sql`update login_events set enqueued_at = clock_timestamp() where id = any(${`{${eventIds.join(',')}}`}::text::uuid[])`
}

export type LostEventRules = {
  /** Seconds after which an event the producer hasn't marked is taken over. */
  notEnqueuedAfter: number
  /** Seconds after which an event that was enqueued but never run is taken to be lost with its queue. */
  notRunAfter: number
  limit: number
  /** Error codes of runs that a later run may mend: an event with no other run after it is brought back too. */
  mendable: readonly string[]
  /** Sources whose events are left alone. */
  without: readonly string[]
}

/**
 * Login events that the queue never took: it was out of reach, or the producer died. Oldest first. An index has these, so
 * one may look often.
 */
export async function listUnqueuedLoginEvents(
  db: Database,
  { notEnqueuedAfter, without, limit }: Pick<LostEventRules, 'notEnqueuedAfter' | 'without' | 'limit'>,
): Promise<LostLoginEvent[]> {
  return await db.$client<LostLoginEvent[]>`
    select e.id as "eventId", e.user_id as "userId", e.tenant_id as "tenantId", e.source, e.received_at as "receivedAt",
      ${isSuperseded(db.$client, without)} as "isSuperseded"
    from login_events e
    where e.enqueued_at is null and e.received_at < now() - ${notEnqueuedAfter} * interval '1 second'
      and e.source not in (${listOf(db.$client, without)})
    order by e.received_at
    limit ${limit}`
}

/** Of an event `e`: whether a newer one of the same person came through another source, which has group sync too. */
function isSuperseded(sql: Database['$client'], without: readonly string[]) {
  return sql`exists (
    select from login_events n
    where n.user_id = e.user_id and n.received_at > e.received_at and n.source <> e.source
      and n.source not in (${listOf(sql, without)}))`
}

const listOf = (sql: Database['$client'], texts: readonly string[]) =>
  sql`select json_array_elements_text(${JSON.stringify(texts)}::text::json)`

/** Any number, as long as no other advisory lock of ours has it. */
const lookLock = 6_201_207

/**
 * Login events the queue doesn't have: those of {@link listUnqueuedLoginEvents}; and of the last day, those enqueued and
 * followed by no run through their source (the queue lost it) or only by runs that failed for a while. One that is
 * superseded is content with the run of the sign-in that came after it: its own could end with tokens that are dead by now.
 * Oldest first. Enqueueing one too many is harmless. It compares all of a day's sign-ins with their runs, so one looks at a
 * time: another finds nothing meanwhile.
 */
export async function listLostLoginEvents(db: Database, rules: LostEventRules): Promise<LostLoginEvent[]> {
  const superseded = isSuperseded(db.$client, rules.without)
  const left = listOf(db.$client, rules.without)
  const events = await transaction<LostLoginEvent[]>(db, async (sql) => {
    const [turn] = await sql<{ mine: boolean }[]>`select pg_try_advisory_xact_lock(${lookLock}) as mine`
    if (!turn?.mine) return []
    return await sql<LostLoginEvent[]>`
      select e.id as "eventId", e.user_id as "userId", e.tenant_id as "tenantId", e.source, e.received_at as "receivedAt",
        ${superseded} as "isSuperseded"
      from login_events e
      where e.enqueued_at is null and e.received_at < now() - ${rules.notEnqueuedAfter} * interval '1 second'
        and e.source not in (${left})
      union all
      select e.id, e.user_id, e.tenant_id, e.source, e.received_at, false
      from login_events e
      where e.enqueued_at < now() - ${rules.notRunAfter} * interval '1 second'
        and e.received_at > now() - interval '1 day' and e.source not in (${left})
        and not exists (
          select from sync_runs r
          where r.user_id = e.user_id and r.source = e.source and r.started_at >= e.received_at
            and (r.outcome <> 'failed'
              or r.error_code not in (${listOf(db.$client, rules.mendable)})))
        and not ${superseded}
      order by 5
      limit ${rules.limit}`
  })
  return [...events]
}

/** How many login events wait for a queue, and for how many seconds the oldest does. */
export async function loginEventLag(db: Database): Promise<{ waiting: number; oldestSeconds: number }> {
  const sql = db.$client
  const [row] = await sql<{ waiting: number; oldestSeconds: number }[]>`
    select count(*)::int as waiting,
      coalesce(extract(epoch from now() - min(received_at)), 0)::float8 as "oldestSeconds"
    from login_events where enqueued_at is null`
  return row ?? { waiting: 0, oldestSeconds: 0 }
}
