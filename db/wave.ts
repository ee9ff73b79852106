import type { Database } from './client.ts'

export type WaveProgress = {
  /** Login events since the start. */
  events: number
  /** Those followed by a run that ended. */
  ended: number
}

/** The database's clock, as text that goes back into a query unchanged. */
export async function databaseNow(db: Database): Promise<string> {
  const sql = db.$client
  const [row] = await sql<{ now: string }[]>`select clock_timestamp() as now`
  if (!row) throw new Error('the database did not tell the time')
  return row.now
}

/** How far the login events stored since `since` have come. Failed attempts don't count as an end. */
export async function waveProgress(db: Database, since: string): Promise<WaveProgress> {
  const sql = db.$client
  const [row] = await sql<WaveProgress[]>`
    select count(*)::int as events,
      count(*) filter (where exists (
        select from sync_runs r
        where r.user_id = e.user_id and r.started_at >= e.received_at and r.outcome <> 'failed'))::int as ended
    from login_events e where e.received_at >= ${since}`
  return row ?? { events: 0, ended: 0 }
}

export type WaveSummary = {
  users: number
  groupsCreated: number
  memberships: number
  outcomes: Record<string, number>
  /** Milliseconds from the sign-in to the end of the first run after it. */
  p50Ms: number
  p95Ms: number
}

/** What became of the login events since `since`: the run that followed each, `pending` where none did. */
export async function summariseWave(db: Database, since: string): Promise<WaveSummary> {
  const sql = db.$client
  const [totals] = await sql<Omit<WaveSummary, 'outcomes'>[]>`
    with event as (select user_id, received_at from login_events where received_at >= ${since}),
    run as (
      select extract(epoch from r.ended_at - e.received_at) * 1000 as ms
      from event e cross join lateral (
        select ended_at from sync_runs r
        where r.user_id = e.user_id and r.started_at >= e.received_at and r.outcome <> 'failed'
        order by r.started_at limit 1) r
    )
    select (select count(distinct user_id) from event)::int as users,
      (select coalesce(sum(groups_created), 0) from sync_runs
        where started_at >= ${since} and user_id in (select user_id from event))::int as "groupsCreated",
      (select count(*) from memberships
        where origin = 'entra' and user_id in (select user_id from event))::int as memberships,
      (select coalesce(percentile_cont(0.5) within group (order by ms), 0) from run)::float8 as "p50Ms",
      (select coalesce(percentile_cont(0.95) within group (order by ms), 0) from run)::float8 as "p95Ms"`
  const outcomes = await sql<{ outcome: string; events: number }[]>`
    select coalesce(r.outcome, 'pending') as outcome, count(*)::int as events
    from login_events e left join lateral (
      select outcome from sync_runs r where r.user_id = e.user_id and r.started_at >= e.received_at
      order by r.outcome = 'failed', r.started_at limit 1) r on true
    where e.received_at >= ${since}
    group by 1 order by 1`
  return {
    ...(totals ?? { users: 0, groupsCreated: 0, memberships: 0, p50Ms: 0, p95Ms: 0 }),
    outcomes: Object.fromEntries(outcomes.map(({ outcome, events }) => [outcome, events])),
  }
}
