import type { Database } from './client.ts'

export type NewSession = {
  id: string
  tenantId: string
  objectId: string
  source: string
  entraSession: string | undefined
  logoutHint: string | undefined
  /** Seconds until it ends, whatever is done in it. */
  lifeSeconds: number
}

/**
 * False where there is no such person, or one disabled here. Whom Entra has disabled it has let in again by now; that the
 * row says so too may wait for a run that holds it. What is long over is cleared away by the way.
 */
export async function insertSession(db: Database, session: NewSession): Promise<boolean> {
  const { id, tenantId, objectId, source, entraSession = null, logoutHint = null, lifeSeconds } = session
  const { count } = await db.$client`
    with over as (delete from sessions where ends_at < clock_timestamp() - interval '1 day')
    insert into sessions (id, user_id, source, entra_session, logout_hint, ends_at)
    select ${id}, u.id, ${source}, ${entraSession}, ${logoutHint},
      clock_timestamp() + ${lifeSeconds} * interval '1 second'
    from users u where u.tenant_id = ${tenantId} and u.object_id = ${objectId} and u.kind = 'person'
      and u.disabled_by is distinct from 'local'`
  return count > 0
}

export type StoredSession = {
  id: string
  userId: string
  tenantId: string
  objectId: string
  source: string
  logoutHint: string | null
}

/** What a session is worth at its source. */
export type SessionRules = {
  /** Seconds without a request after which it is over. */
  idleSeconds: number
  /** By source: object ids of groups of which the person must be in one. Sources that aren't in it ask for none. */
  requiredGroups: Readonly<Record<string, readonly string[]>>
}

/**
 * A session that holds: neither over nor idle for too long, of a person who is enabled and, where the source asks for it, in
 * one of its groups. That is known only once a read that began after the sign-in is applied; until then the sign-in's own
 * look at them stands. One statement, which writes once a minute at most: to look at a session without using it writes nothing.
 */
export async function findSession(
  db: Database,
  id: string,
  rules: SessionRules,
  { isUse = true }: { isUse?: boolean } = {},
): Promise<StoredSession | undefined> {
  const sql = db.$client
  const [session] = await sql<StoredSession[]>`
    with found as (
      select s.id, s.user_id, u.tenant_id, u.object_id, s.source, s.logout_hint, s.seen_at
      from sessions s join users u on u.id = s.user_id
      where s.id = ${id} and s.ends_at > clock_timestamp() and u.enabled
        and s.seen_at > clock_timestamp() - ${rules.idleSeconds} * interval '1 second'
        and (
          ${JSON.stringify(rules.requiredGroups)}::text::jsonb -> s.source is null
          or u.snapshot_at is null or u.snapshot_at < s.started_at
          or exists (
            select from memberships m join groups g on g.id = m.group_id
            where m.user_id = u.id and m.origin = 'entra' and g.tenant_id = u.tenant_id and g.deleted_at is null
              and ${JSON.stringify(rules.requiredGroups)}::text::jsonb -> s.source ? g.object_id))
    ), seen as (
      update sessions s set seen_at = clock_timestamp()
      from found where ${isUse} and s.id = found.id and found.seen_at < clock_timestamp() - least(60, ${rules.idleSeconds} / 4.0) * interval '1 second'
    )
    select id, user_id as "userId", tenant_id as "tenantId", object_id as "objectId", source,
      logout_hint as "logoutHint"
    from found`
  return session
}

export async function endSession(db: Database, id: string): Promise<void> {
  await db.$client`delete from sessions where id = ${id}`
}

/** Signs a person out wherever they are, by any session of theirs, idle or not. Resolves with how many that ended. */
export async function endAllSessionsBy(db: Database, id: string): Promise<number> {
  const { count } = await db.$client`
    delete from sessions where id = ${id}
      or user_id = (select user_id from sessions where id = ${id} and ends_at > clock_timestamp())`
  return count
}

/** Ends a person's sessions at one source. Resolves with how many that were. */
export async function endSessionsOfPerson(
  db: Database,
  { source, tenantId, objectId }: { source: string; tenantId: string; objectId: string },
): Promise<number> {
  const { count } = await db.$client`
    delete from sessions s using users u
    where u.id = s.user_id and s.source = ${source} and u.tenant_id = ${tenantId} and u.object_id = ${objectId}`
  return count
}

/** Ends what was started in one session at Entra. Resolves with how many sessions that ended. */
export async function endSessionsAt(db: Database, source: string, entraSession: string): Promise<number> {
  return (await db.$client`delete from sessions where source = ${source} and entra_session = ${entraSession}`)
    .count
}
