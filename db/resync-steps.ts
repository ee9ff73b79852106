import type { ISql } from 'postgres'
import type { Database } from './client.ts'
import { settledAfterSeconds } from './read-again.ts'
import { settles } from './resync-people.ts'
import { columns, type StoredResync } from './resyncs.ts'
import { transaction } from './transaction.ts'

export type ResyncStep = {
  /** People whose jobs may be in the queue at once, which is all that is kept of them. */
  window: number
  /** People that one job is for: no fewer are taken, but for the last, since a part of a job costs a request as well. */
  jobSize: number
  /** False: who needs a sign-in first is counted and not enqueued. */
  needsToken: boolean
  /**
   * The rule for people who don't come back: who has been away for so long, in days, is enqueued without a usable token too,
   * until the rule has done what it says.
   */
  absent: { policy: 'freeze' | 'remove'; afterDays: number } | undefined
}

/**
 * Seconds for which a resync waits to hear what has changed. Nothing is lost by its end: a round that goes on for longer is
 * read again.
 */
const forsakenRoundSeconds = 3600

/** How a resync stands after a step; undefined where somebody else is at it, or it has ended. */
export type SteppedResync = StoredResync & {
  /** It has ended with this step. */
  ended: boolean
}

/**
 * One step of a resync, in one transaction: counts who was synced since they were taken, takes the next who are due, oldest
 * first, and ends it when nobody is left. Whoever makes the steps may die between any two of them.
 */
export async function stepResync(
  db: Database,
  id: string,
  step: ResyncStep,
): Promise<SteppedResync | undefined> {
  return await transaction(db, async (sql) => {
    // Not `for update`: every run that is written down refers to this row, and one that is under way would keep steps out.
    const [mine] = await sql<{ mode: string }[]>`
      select mode from resyncs where id = ${id} and state = 'running' and begins_at <= clock_timestamp() for no key update skip locked`
    if (!mine) return undefined
    await settle(sql, id, { ofApp: !step.needsToken })
    // Of a delta resync, what has changed says who is taken.
    if (mine.mode === 'full') await take(sql, id, step)
    const [row] = await sql<SteppedResync[]>`
      with next as materialized (
        select case
            when exists (select from resync_users where resync_id = ${id}) then 'running'
            when not all_taken and mode = 'delta'
              and started_at < clock_timestamp() - ${forsakenRoundSeconds} * interval '1 second' then 'failed'
            when not all_taken then 'running'
            when approved_at is null and exists (
              select from sync_runs s where s.resync_id = r.id and s.held_by = 'resync') then 'held'
            else 'done' end as state
        from resyncs r where id = ${id}
      ), stepped as (
        update resyncs r set tended_at = clock_timestamp(), state = next.state,
          ended_at = case when next.state <> 'running' then clock_timestamp() end
        from next where r.id = ${id} returning r.*
      ) select ${columns(sql)}, state <> 'running' as ended from stepped`
    if (row?.ended && row.mode === 'delta') await forgetQuiet(sql, row.source)
    return row
  })
}

/** Of rounds that told nothing, of which there are some hundreds a day, one keeps a day's. */
async function forgetQuiet(sql: ISql, source: string): Promise<void> {
  await sql`
    delete from resyncs where source = ${source} and mode = 'delta' and state = 'done' and due = 0
      and ended_at < clock_timestamp() - interval '1 day'`
}

/** After so many hours without a run somebody has failed: a resync must end, whatever Graph does with one of its people. */
const givenUpHours = 6

/**
 * Who was taken and has had a run since that settles it is done; for whoever else, the queue is asked again. Who was read late
 * enough isn't hinted at any more. The runs of each are looked up
 * by their index (`offset 0`): of a table that has just been filled the planner would read them all. Hints are locked in the
 * order of people, as everybody does, or two would wait for each other.
 */
async function settle(sql: ISql, id: string, { ofApp }: { ofApp: boolean }): Promise<void> {
  await sql`
    with found as materialized (
      select distinct on (w.user_id) w.user_id, r.outcome, r.started_at,
        bool_or(r.added + r.removed > 0) over (partition by w.user_id) as changed, r.resync_id = ${id} as own,
        r.requests, r.resource_units
      from resync_users w cross join lateral (select * from sync_runs r where ${settles(sql, id, { ofApp })} offset 0) r
      where w.resync_id = ${id}
      order by w.user_id, r.started_at desc
    ), ended as materialized (
      select user_id, outcome, changed, own, requests, resource_units from found
      union all
      select user_id, 'failed', false, false, 0, 0 from resync_users
      where resync_id = ${id} and taken_at < clock_timestamp() - ${givenUpHours} * interval '1 hour'
        and user_id not in (select user_id from found)
    ), gone as (
      delete from resync_users w using ended e where w.resync_id = ${id} and w.user_id = e.user_id
    ), late_enough as materialized (
      select h.source, h.user_id
      from found f join resyncs r on r.id = ${id} join delta_hints h on h.source = r.source and h.user_id = f.user_id
      where f.outcome not in ('failed', 'denied', 'needs_login')
        and f.started_at >= h.told_at + ${settledAfterSeconds} * interval '1 second'
      order by h.user_id for update of h
    ), settled as (
      delete from delta_hints h using late_enough l where h.source = l.source and h.user_id = l.user_id
    ), counted as (
      select count(*)::int as done, (count(*) filter (where changed))::int as changed,
        (count(*) filter (where outcome = 'held'))::int as held,
        (count(*) filter (where outcome = 'failed'))::int as failed,
        (count(*) filter (where outcome = 'denied'))::int as denied,
        (count(*) filter (where outcome = 'needs_login'))::int as needs_login,
        coalesce(sum(requests) filter (where own), 0)::int as requests,
        coalesce(sum(resource_units) filter (where own), 0)::int as resource_units
      from ended
    )
    update resyncs r set done = r.done + c.done, changed = r.changed + c.changed, held = r.held + c.held,
      failed = r.failed + c.failed, denied = r.denied + c.denied, needs_login = r.needs_login + c.needs_login,
      requests = r.requests + c.requests, resource_units = r.resource_units + c.resource_units
    from counted c where r.id = ${id} and c.done > 0`
}

/**
 * As many as the window has room for and as are due by now, after the last one taken. Once all are taken that were due at its
 * start nobody else is likely to be, and there is no reason to wait for the end of the spread. Whose read began before the cutoff
 * is due also where it was written down afterwards, which no read is by hours.
 */
async function take(sql: ISql, id: string, step: ResyncStep): Promise<void> {
  const { window, jobSize, needsToken, absent } = step
  const [found] = await sql<Found[]>`
    select least(${window} - (select count(*) from resync_users where resync_id = ${id}),
        case when taken >= due or clock_timestamp() >= begins_at + spread_seconds * interval '1 second' then ${window}
          else ceil(due * extract(epoch from clock_timestamp() - begins_at) / spread_seconds) - taken
        end)::int as room,
      source, cursor_synced_at::text as "syncedAt", cutoff_at::text as "cutoffAt",
      coalesce(cursor_user_id, '00000000-0000-0000-0000-000000000000') as "userId"
    from resyncs where id = ${id} and not all_taken`
  if (!found) return
  const room = { ...found, room: found.room - (found.room % jobSize) }
  if (room.room <= 0) return
  const page =
    room.syncedAt === null
      ? sql`u.last_synced_at is null and u.id > ${room.userId}`
      : sql`(u.last_synced_at, u.id) > (${room.syncedAt}::text::timestamptz, ${room.userId}::uuid)
          and u.last_synced_at < ${room.cutoffAt}::text::timestamptz + ${givenUpHours} * interval '1 hour'
          and (u.last_synced_at < ${room.cutoffAt}::text::timestamptz or u.snapshot_at < ${room.cutoffAt}::text::timestamptz)`
  // The cursor goes in as a value, and `offset 0` keeps the tokens inside: so what one step looks at doesn't grow with those
  // who are stored, whatever the planner knows of a table that has just been filled.
  const [{ taken } = { taken: 0 }] = await sql<{ taken: number }[]>`
    with page as materialized (
      select u.id, u.last_synced_at, not ${needsToken} or t.state = 'valid' or coalesce(
          u.last_login_at < clock_timestamp() - ${absent?.afterDays ?? null}::int * interval '1 day'
          and (u.frozen_at is null or (${absent?.policy === 'remove'} and exists (
            select from memberships m where m.user_id = u.id and m.origin = 'entra'))), false) as is_work
      from users u cross join lateral (
        select state from delegated_tokens where user_id = u.id and source = ${room.source} offset 0) t
      where ${page} and u.kind = 'person' and u.disabled_by is distinct from 'local'
        and not exists (select from resync_users w where w.resync_id = ${id} and w.user_id = u.id)
      order by u.last_synced_at nulls first, u.id limit ${room.room}
    ), made as (
      insert into resync_users (resync_id, user_id) select ${id}, id from page where is_work on conflict do nothing
    ), last as (select last_synced_at, id from page order by last_synced_at desc nulls last, id desc limit 1)
    update resyncs r set
      taken = r.taken + (select count(*) from page),
      done = r.done + (select count(*) from page where not is_work),
      needs_login = r.needs_login + (select count(*) from page where not is_work),
      cursor_synced_at = (select last_synced_at from last), cursor_user_id = (select id from last)
    where r.id = ${id} and exists (select from page)
    returning (select count(*) from page)::int as taken`
  if (taken >= room.room) return
  if (room.syncedAt !== null) {
    await sql`update resyncs set all_taken = true where id = ${id}`
    return
  }
  // Those never synced come first; then, from the beginning of time, those that were.
  await sql`
    update resyncs set cursor_synced_at = '-infinity', cursor_user_id = '00000000-0000-0000-0000-000000000000'
    where id = ${id}`
  await take(sql, id, step)
}

/** What a step begins with: how many it may take, and after whom. */
type Found = { room: number; source: string; syncedAt: string | null; userId: string; cutoffAt: string }

export type TakenUser = { userId: string; tenantId: string; takenAt: string }

/** Who was taken and has no job, as far as one knows: none was made, or it was made so many seconds ago. */
export async function listToEnqueue(
  db: Database,
  resyncId: string,
  { againAfterSeconds, limit }: { againAfterSeconds: number; limit: number },
): Promise<TakenUser[]> {
  return await db.$client<TakenUser[]>`
    select w.user_id as "userId", u.tenant_id as "tenantId", to_json(w.taken_at) #>> '{}' as "takenAt"
    from resync_users w join users u on u.id = w.user_id
    where w.resync_id = ${resyncId} and (w.enqueued_at is null
      or w.enqueued_at < clock_timestamp() - ${againAfterSeconds} * interval '1 second')
    order by w.taken_at, w.user_id limit ${limit}`
}

/**
 * They have jobs; not who was taken anew since they were listed, for whom theirs may have begun too early. Steps change these
 * rows under the lock of the resync, and rounds of changes in the order of people: so neither waits for this in a circle.
 */
export async function markTakenEnqueued(
  db: Database,
  resyncId: string,
  people: readonly TakenUser[],
): Promise<void> {
  await db.$client`
    with resync as materialized (
      select id from resyncs where id = ${resyncId} for share
    ), taken as materialized (
      select w.user_id
      from resync join resync_users w on w.resync_id = resync.id
        join json_to_recordset(${JSON.stringify(people)}::text::json) as l("userId" uuid, "takenAt" timestamptz)
          on w.user_id = l."userId" and w.taken_at = l."takenAt"
      order by w.user_id for update of w
    )
    update resync_users w set enqueued_at = clock_timestamp()
    from taken where w.resync_id = ${resyncId} and w.user_id = taken.user_id`
}

/**
 * They are asked for by the next step: what was read of them from `now` on was overtaken by a newer read, which may say nothing
 * of what the resync waits for. Their moment moves by as little as tells them from before, so that another job is made, a run
 * that does settle it counts, and six hours are still all they get. Who was taken anew since has a job, or gets one. In the order
 * of people, as everybody locks them.
 */
export async function askAnew(
  db: Database,
  resyncId: string,
  people: readonly { userId: string; now: string }[],
): Promise<void> {
  const told = JSON.stringify(people.map(({ userId, now }) => ({ userId, readAt: now })))
  await db.$client`
    with resync as materialized (
      select id from resyncs where id = ${resyncId} for share
    ), overtaken as materialized (
      select w.user_id
      from resync join resync_users w on w.resync_id = resync.id
        join json_to_recordset(${told}::text::json) as l("userId" uuid, "readAt" timestamptz)
          on w.user_id = l."userId" and w.taken_at <= l."readAt"
      order by w.user_id for update of w
    )
    update resync_users w set taken_at = taken_at + interval '1 microsecond', enqueued_at = null
    from overtaken where w.resync_id = ${resyncId} and w.user_id = overtaken.user_id`
}
