import type { ISql } from 'postgres'
import type { Database } from './client.ts'
import { transaction } from './transaction.ts'

export type ResyncMode = 'full' | 'delta'
export type ResyncState = 'running' | 'done' | 'held' | 'cancelled' | 'failed'

export type StoredResync = {
  id: string
  source: string
  mode: ResyncMode
  cause: string
  state: ResyncState
  /** ISO 8601, as all times. */
  startedAt: string
  endedAt: string | null
  /** When a worker last looked after it; null while none has. */
  tendedAt: string | null
  errorCode: string | null
  /** People at its start. */
  due: number
  /** Of those, who was taken by now. */
  taken: number
  done: number
  changed: number
  held: number
  failed: number
  denied: number
  needsLogin: number
  requests: number
  resourceUnits: number
}

/**
 * Memberships that ended runs of a resync have removed, with what was removed before it in the same affair, and those of
 * origin `entra` in groups of the tenant now, which are counted only once `countFrom` are removed: below, it is 0. Runs
 * that haven't ended don't count; without a resync nothing was removed before. Undefined where somebody has agreed to whatever the resync removes.
 */
export async function findResyncSoFar(
  db: Database,
  {
    resyncId = null,
    tenantId,
    countFrom,
  }: { resyncId: string | null | undefined; tenantId: string; countFrom: number },
): Promise<{ removed: number; memberships: number } | undefined> {
  const [row] = await db.$client<{ removed: number; memberships: number; approved: boolean }[]>`
    with resync as materialized (
      select coalesce(max(removed_before), 0) as before, coalesce(bool_or(approved_at is not null), false) as approved
      from resyncs where id = ${resyncId}
    ), done as materialized (
      select (coalesce(sum(removed), 0) + (select before from resync))::int as removed
      from sync_runs where resync_id = ${resyncId}
    )
    select removed, (select approved from resync) as approved, case when removed >= ${countFrom} then (
        select count(*) from memberships m join groups g on g.id = m.group_id
        where g.tenant_id = ${tenantId} and m.origin = 'entra'
      ) else 0 end::int as memberships
    from done`
  if (!row || row.approved) return undefined
  return { removed: row.removed, memberships: row.memberships }
}

/** Has memberships that left with a deleted group count as removed by a resync, though no run of it has removed them. */
export async function countWithResync(db: Database, resyncId: string, removed: number): Promise<void> {
  await db.$client`update resyncs set removed_before = removed_before + ${removed} where id = ${resyncId}`
}

export type NewResync = {
  source: string
  mode: ResyncMode
  /** `expired`: what has changed can't be told any more, so everybody is read. `notified`: Graph has told of a change. */
  cause: 'schedule' | 'manual' | 'expired' | 'notified'
  /** Who was last synced longer ago than that, in seconds, is due. */
  maxAgeSeconds: number
  /** Seconds over which those who are due are taken, and until the first of them is. */
  spreadSeconds: number
  delaySeconds: number
}

/**
 * Begins one, or joins the one of the same source and mode that goes on. Where the last one ended `held` and nobody has
 * agreed to that, its removals count as this one's: else each would be allowed its share anew. One that read nobody settles
 * nothing.
 */
export async function startResync(
  db: Database,
  resync: NewResync,
): Promise<{ resync: StoredResync; joined: boolean }> {
  const sql = db.$client
  const { source, mode, cause, maxAgeSeconds, spreadSeconds, delaySeconds } = resync
  for (;;) {
    const [made] = await sql<StoredResync[]>`
      with moment as (select clock_timestamp() as now, clock_timestamp() - ${maxAgeSeconds} * interval '1 second' as cutoff)
      insert into resyncs (source, mode, cause, started_at, begins_at, cutoff_at, spread_seconds, due, removed_before)
      select ${source}, ${mode}, ${cause}, now, now + ${delaySeconds} * interval '1 second', cutoff, ${spreadSeconds}, case when ${mode} = 'full' then (
          select count(*) from users u join delegated_tokens t on t.user_id = u.id and t.source = ${source}
          where (u.last_synced_at is null or u.last_synced_at < cutoff) and u.kind = 'person'
            and u.disabled_by is distinct from 'local'
        ) else 0 end, coalesce((
          select case when last.state = 'held' and last.approved_at is null then last.removed_before + (
              select coalesce(sum(removed), 0) from sync_runs where resync_id = last.id) end
          from (select * from resyncs where source = ${source} and mode = ${mode} and (state = 'held' or (state = 'done' and done > 0))
            order by started_at desc limit 1) last), 0)
      from moment
      on conflict (source, mode) where state = 'running' do nothing
      returning ${columns(sql)}`
    if (made) return { resync: made, joined: false }
    const running = await joinResync(db, resync)
    // It may have ended in between.
    if (running) return { resync: running, joined: true }
  }
}

/**
 * The one that goes on, as whoever joins it needs it. One that waits for what changes to be told doesn't end before.
 * `manual`: everybody who hasn't been read since it began, and now. `expired`: everybody, by reads that begin from now on.
 */
async function joinResync(
  db: Database,
  { source, mode, cause }: NewResync,
): Promise<StoredResync | undefined> {
  const sql = db.$client
  const everybody = sql`(
    select count(*)::int from users u join delegated_tokens t on t.user_id = u.id and t.source = r.source
    where u.kind = 'person' and u.disabled_by is distinct from 'local')`
  const changes =
    mode === 'delta'
      ? sql`all_taken = false`
      : cause === 'manual'
        ? sql`begins_at = least(begins_at, clock_timestamp()), spread_seconds = 0,
            cutoff_at = greatest(cutoff_at, started_at), all_taken = all_taken and cutoff_at >= started_at,
            due = case when cutoff_at >= started_at then due else greatest(due, ${everybody}) end`
        : cause === 'expired'
          ? sql`cause = 'expired', cutoff_at = clock_timestamp(), all_taken = false,
              due = taken + ${everybody} - (select count(*)::int from resync_users where resync_id = r.id)`
          : sql`state = state`
  return await transaction(db, async (held) => {
    // Locked first, so that what follows sees what the last step has taken.
    const running = await held<{ id: string }[]>`
      select id from resyncs where source = ${source} and mode = ${mode} and state = 'running' for no key update`
    const [{ id } = { id: null }] = running
    if (id === null) return undefined
    if (cause === 'expired')
      await held`update resync_users set taken_at = clock_timestamp(), enqueued_at = null where resync_id = ${id}`
    const [joined] = await held<StoredResync[]>`
      update resyncs r set ${changes} where id = ${id} returning ${columns(sql)}`
    return joined
  })
}

/** Who of a source's people would be taken now by one that somebody asks for, and of those who has no usable token. */
export async function countDue(db: Database, source: string): Promise<{ due: number; needsLogin: number }> {
  const [row] = await db.$client<{ due: number; needsLogin: number }[]>`
    select count(*)::int as due, (count(*) filter (where t.state <> 'valid'))::int as "needsLogin"
    from users u join delegated_tokens t on t.user_id = u.id and t.source = ${source}
    where u.kind = 'person' and u.disabled_by is distinct from 'local'`
  return row ?? { due: 0, needsLogin: 0 }
}

export async function findResync(db: Database, id: string): Promise<StoredResync | undefined> {
  const [row] = await db.$client<StoredResync[]>`select ${columns(db.$client)} from resyncs where id = ${id}`
  return row
}

/** Newest first. */
export async function listResyncs(db: Database, limit: number): Promise<StoredResync[]> {
  return await db.$client<StoredResync[]>`
    select ${columns(db.$client)} from resyncs order by started_at desc limit ${limit}`
}

/** Those that go on and whose source is one of these, the oldest first. */
export async function listRunningResyncs(
  db: Database,
  sources: readonly string[],
): Promise<{ id: string; source: string }[]> {
  return await db.$client<{ id: string; source: string }[]>`
    select id, source from resyncs where state = 'running' and begins_at <= clock_timestamp()
      and source in (select json_array_elements_text(${JSON.stringify(sources)}::text::json))
    order by started_at`
}

/**
 * Those that go on though no worker has looked after them for so long: their source is configured nowhere any more. Where one
 * read everybody as changes were forgotten, the next round of its source has everybody read again.
 */
export async function failForsakenResyncs(
  db: Database,
  sources: readonly string[],
  forsakenSeconds: number,
): Promise<string[]> {
  return await transaction(db, async (sql) => {
    const failed = await sql<EndedEarly[]>`
      update resyncs set state = 'failed', error_code = 'source_unknown', ended_at = clock_timestamp()
      where state = 'running'
        and greatest(begins_at, tended_at) < clock_timestamp() - ${forsakenSeconds} * interval '1 second'
        and source not in (select json_array_elements_text(${JSON.stringify(sources)}::text::json))
      returning id, source, cause`
    for (const each of failed) await letGo(sql, each)
    return failed.map(({ id }) => id)
  })
}

type EndedEarly = { id: string; source: string; cause: string }

/**
 * Of whom changes were told stays hinted at, and is read by the next round. Where they were forgotten nobody but everybody is,
 * so that the next round finds its links too old.
 */
async function letGo(sql: ISql, { id, source, cause }: EndedEarly): Promise<void> {
  // Those who were taken of them don't wait for the interval in which who can't be read is taken.
  await sql`
    with taken as materialized (
      select user_id from delta_hints
      where source = ${source} and user_id in (select user_id from resync_users where resync_id = ${id})
      order by user_id for update
    )
    update delta_hints set due_at = clock_timestamp() where source = ${source} and user_id in (select user_id from taken)`
  await sql`delete from resync_users where resync_id = ${id}`
  if (cause === 'expired')
    await sql`update delta_links set obtained_at = '-infinity' where source = ${source}`
}

/** Why it doesn't get on just now; undefined takes that back. */
export async function noteResyncError(
  db: Database,
  id: string,
  errorCode: string | undefined,
): Promise<void> {
  await db.$client`
    update resyncs set error_code = ${errorCode ?? null}, tended_at = clock_timestamp() where id = ${id} and state = 'running'`
}

/** False where it doesn't go on. Jobs of it that have not begun end without a run; changes that it was about are not lost. */
export async function cancelResync(db: Database, id: string): Promise<boolean> {
  return await transaction(db, async (sql) => {
    const [cancelled] = await sql<EndedEarly[]>`
      update resyncs set state = 'cancelled', ended_at = clock_timestamp() where id = ${id} and state = 'running'
      returning id, source, cause`
    // In statements of their own, which see whom a step has taken that the first one waited for.
    if (cancelled) await letGo(sql, cancelled)
    return cancelled !== undefined
  })
}

/**
 * Lets a resync remove what its guard holds, from now on; `undefined` where there is none of that id, or it has ended and holds
 * nothing.
 */
export async function approveResync(db: Database, id: string): Promise<StoredResync | undefined> {
  const [row] = await db.$client<StoredResync[]>`
    update resyncs set approved_at = coalesce(approved_at, clock_timestamp()),
      state = case when state = 'held' then 'done' else state end
    where id = ${id} and (state in ('running', 'held') or approved_at is not null
      or exists (select from sync_runs where resync_id = ${id} and held_by = 'resync' and approved_at is null))
    returning ${columns(db.$client)}`
  return row
}

/** The columns of {@link StoredResync}. */
export function columns(sql: ISql) {
  const iso = (name: string) => sql`to_json(${sql(name)}) #>> '{}'`
  return sql`id, source, mode, cause, state, ${iso('started_at')} as "startedAt", ${iso('ended_at')} as "endedAt",
    ${iso('tended_at')} as "tendedAt", error_code as "errorCode", due, taken, done, changed, held, failed, denied,
    needs_login as "needsLogin", requests, resource_units as "resourceUnits"`
}
