import type { Database } from './client.ts'

/** Whose budget: Graph counts by app registration and tenant. */
export type BudgetKey = { clientId: string; tenantId: string }

/** A promised moment; void once the tenant was paused, or when the moment has long passed. */
export type Slot = {
  /** Milliseconds since 1970 by the database's clock. */
  at: number
  /** Of which series of promises; each pause begins a new one. */
  generation: number
}

export type BudgetRules = {
  /** Resource units that Graph allows in ten seconds. */
  unitsPer10s: number
  /** Milliseconds' worth of units that may be used at once after a quiet time. */
  burstMs: number
  /** Milliseconds after its moment until which a slot is good. */
  slotLifeMs: number
  /** Milliseconds before its moment from which on a slot is good: as much as the clocks that wait for it may differ. */
  earlyMs: number
  /** Milliseconds in which a pace of 0 would grow back to 1. */
  recoverMs: number
  /** Milliseconds by which what one read has cost moves the slots at the most. */
  settleMs: number
  /** Milliseconds from now, or from the end of a pause, within which slots are promised to each lane. */
  aheadMs: { high: number; low: number }
  /** Milliseconds that a pause can last. */
  pauseMs: number
}

export type SlotRequest = {
  units: number
  /** `low` comes after all that is `high`, and gives its slot back where a `high` one took it. */
  priority: 'high' | 'low'
  /** What an earlier call promised. */
  slot?: Slot | undefined
}

/** `waitMs` 0: now. Else not before, and the slot is to be shown then. `now` is ISO 8601 in UTC, with microseconds. */
export type Promised = { waitMs: number; slot: Slot; now: string }

/** Makes the row that the other statements lock. */
export async function registerBudget(db: Database, { clientId, tenantId }: BudgetKey): Promise<void> {
  await db.$client`
    insert into tenant_budgets (client_id, tenant_id) values (${clientId}, ${tenantId}) on conflict do nothing`
}

/**
 * Promises the next free moment for so many units, or honours what was promised before: one statement, serialised by the
 * row's lock (generic cell rate algorithm, as of ATM's traffic management, over two lanes).
 *
 * - `high_at` is where the slots promised to `high` end, `low_at` where all promised slots end; so between the two
 *   everything is promised to `low`.
 * - A `high` request begins at `high_at`, whatever `low` was promised there. What it takes is `owed`: so many units of
 *   `low` slots, when they are shown, are given up for new ones at the end. A slot is kept as long as less than it is owed:
 *   else each sign-in, of two units, would cost a batch its twenty, and sign-ins that go on would leave no batch a turn.
 * - `pace` is the share of the rate that is used; it grows back with time.
 * - Where a lane is full as far ahead as slots are promised, the slot that comes back is void: the lane is looked at anew
 *   when its time comes.
 *
 * Nothing waits for the disk: a crashed server forgets promises, never a membership. Undefined where the budget isn't
 * registered, or not any more.
 */
export async function promiseSlot(
  db: Database,
  key: BudgetKey,
  rules: BudgetRules,
  { units, priority, slot }: SlotRequest,
): Promise<Promised | undefined> {
  const sql = db.$client
  const high = priority === 'high'
  const [row] = await sql<{ waitMs: number; at: number; generation: number; now: string }[]>`
    with budget as materialized (${lockedBudget(db, key, rules)}
    ), asked as (
      select *, ${units}::float8 * unit_ms as need, ${slot?.at ?? 0}::float8 as shown_at,
        ${slot !== undefined} and generation = ${slot?.generation ?? 0} and (${high} or owed <= 0 or owed < ${units}::float8 - 0.01)
          and now_ms <= ${slot?.at ?? 0}::float8 + ${rules.slotLifeMs}::float8 as kept,
        greatest(case when ${high} then high_at else low_at end, now_ms) as starts,
        case when ${high} then high_end else low_end end as lane_end
      from budget
    ), found as (
      select *, not kept and starts + need > lane_end as beyond,
        case when kept and shown_at > now_ms + ${rules.earlyMs}::float8 then shown_at when kept then now_ms
          else greatest(now_ms, least(starts, lane_end) + need - ${rules.burstMs}::float8) end as at,
        case when not ${high} then 0 else greatest(0, least(low_at, starts + need) - starts) / unit_ms end as taken
      from asked
    ), written as (
      update tenant_budgets b set
        high_at = case when ${high} and not f.beyond then f.starts + f.need else f.high_at end,
        low_at = case when f.beyond then f.low_at else greatest(f.low_at, f.starts + f.need) end,
        owed = case when f.low_at <= f.now_ms then 0 when f.beyond then f.owed
          when ${high} then f.owed + f.taken
          when ${slot !== undefined} then greatest(0, f.owed - ${units}::float8) else f.owed end,
        ${righted(db)}
      from found f
      where b.client_id = ${key.clientId} and b.tenant_id = ${key.tenantId} and not f.kept
    )
    select at - now_ms as "waitMs", at, case when beyond then -1 else generation end as generation,
      to_char(now_at at time zone 'utc', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') as now,
      set_config('synchronous_commit', 'off', true)
    from found`
  if (!row) return undefined
  return { waitMs: Math.ceil(row.waitMs), slot: { at: row.at, generation: row.generation }, now: row.now }
}

/**
 * Brings the promises to what a read really cost, and the pace down to `pace` at most where Graph asked for it. One
 * statement; `units` is what was used beyond what had been promised, negative for less.
 */
export async function settleUnits(
  db: Database,
  key: BudgetKey,
  rules: BudgetRules,
  used: { units: number; priority: 'high' | 'low'; pace: number },
): Promise<void> {
  const sql = db.$client
  await sql`
    with budget as materialized (${lockedBudget(db, key, rules)})
    update tenant_budgets b set
      high_at = case when ${used.priority === 'high'}
        then least(greatest(f.high_at, f.now_ms) + f.moved, f.high_end) else f.high_at end,
      low_at = least(greatest(f.low_at, f.now_ms) + f.moved, f.low_end),
      ${righted(db, sql`least(f.pace_now, ${used.pace}::float8)`)}
    from (select *, least(${used.units}::float8 * unit_ms, ${rules.settleMs}::float8) as moved from budget) f
    where b.client_id = ${key.clientId} and b.tenant_id = ${key.tenantId}`
}

export type PauseRules = {
  /** Milliseconds of the first pause of its own; each further one in a row is twice as long. */
  floorMs: number
  /** Milliseconds that such a pause grows to at the most. */
  capMs: number
  /** Milliseconds without a pause after which the next one counts as the first again. */
  forgetMs: number
  /** Share that is left of the pace. */
  slowTo: number
}

/**
 * Stops the tenant for every process: what was promised is void, and new slots begin when the pause ends, at a slower
 * pace. An answer that comes while the tenant is paused belongs to the same incident and can only prolong it. Resolves
 * with the milliseconds that are left.
 */
export async function pauseBudget(
  db: Database,
  key: BudgetKey,
  rules: BudgetRules & PauseRules,
  retryAfterMs: number,
): Promise<number> {
  const sql = db.$client
  const [row] = await sql<{ leftMs: number }[]>`
    with budget as materialized (${lockedBudget(db, key, rules)}
    ), counted as (
      select *, paused_until > now_ms as paused,
        case when paused_until > now_ms then pauses
          when now_ms - paused_until < ${rules.forgetMs}::float8 then least(pauses + 1, 30) else 1 end as in_a_row
      from budget
    ), found as (
      select *, greatest(paused_until, now_ms + greatest(${retryAfterMs}::float8, case when paused then 0
        else least(${rules.capMs}::float8, ${rules.floorMs}::float8 * power(2, in_a_row - 1)) end)) as until_ms
      from counted
    ), written as (
      update tenant_budgets b set
        paused_until = f.until_ms, pauses = f.in_a_row, generation = f.generation + 1, owed = 0,
        high_at = f.until_ms + ${rules.burstMs}::float8, low_at = f.until_ms + ${rules.burstMs}::float8,
        pace = case when f.paused then f.pace_now else f.pace_now * ${rules.slowTo}::float8 end, paced_at = f.now_ms
      from found f
      where b.client_id = ${key.clientId} and b.tenant_id = ${key.tenantId} and f.until_ms > f.paused_until
    )
    select until_ms - now_ms as "leftMs" from found`
  return Math.ceil(row?.leftMs ?? 0)
}

export type BudgetState = {
  /** Share of the rate that is used now. */
  pace: number
  /** Milliseconds the tenant is paused for; 0 where it isn't. */
  pausedMs: number
  /** Milliseconds until the next free slot of each lane. */
  highWaitMs: number
  lowWaitMs: number
}

/** How a tenant's budget stands; undefined before anybody asked for it. */
export async function findBudget(
  db: Database,
  key: BudgetKey,
  rules: BudgetRules,
): Promise<BudgetState | undefined> {
  const [row] = await db.$client<BudgetState[]>`
    with budget as (${lockedBudget(db, key, rules)})
    select pace_now as pace, greatest(0, paused_until - now_ms) as "pausedMs",
      greatest(0, high_at - ${rules.burstMs}::float8 - now_ms) as "highWaitMs",
      greatest(0, low_at - ${rules.burstMs}::float8 - now_ms) as "lowWaitMs"
    from budget`
  return row
}

/** What every write of the row stores: what a clock that was put back has made void, and the pace as of now. */
function righted(db: Database, pace = db.$client`f.pace_now`) {
  return db.$client`generation = f.generation, paused_until = f.paused_until, pace = ${pace}, paced_at = f.now_ms`
}

/** Milliseconds by which a stored time may be ahead of what is possible before the clock is taken to have been put back. */
const clockSlackMs = 5000

/**
 * The row, locked, with the time as of the lock, the pace by now and what a unit takes at it (pace never ends at 0), and
 * where either lane ends at the latest.
 *
 * The database's clock may have been ahead and put right. A row that was written later than now shows by how much, and
 * its times move back with the clock; whatever is further ahead than the rules allow is void. In both cases so are the
 * slots that were promised by that clock.
 */
function lockedBudget(db: Database, { clientId, tenantId }: BudgetKey, rules: BudgetRules) {
  return db.$client`
    select now_at, now_ms, until_ms as paused_until, high_end, low_end, owed, pauses, pace_now,
      case when high_odd then now_ms else high_at - back end as high_at,
      case when low_odd then now_ms else low_at - back end as low_at,
      generation + (back > 0 or pause_odd or high_odd or low_odd)::int as generation,
      10000 / (${rules.unitsPer10s}::float8 * pace_now) as unit_ms
    from (
      select locked.*, clock_timestamp() as now_at
      from (
        select * from tenant_budgets where client_id = ${clientId} and tenant_id = ${tenantId} for update
      ) locked offset 0
    ) clocked
    cross join lateral (select extract(epoch from now_at)::float8 * 1000 as now_ms) timed
    cross join lateral (
      select case when paced_at > now_ms + ${clockSlackMs}::float8 then paced_at - now_ms else 0 end as back,
        greatest(0.05, least(1, pace + greatest(0, now_ms - paced_at) / ${rules.recoverMs}::float8)) as pace_now
    ) turned
    cross join lateral (
      select paused_until - back > now_ms + ${rules.pauseMs + clockSlackMs}::float8 as pause_odd
    ) paused
    cross join lateral (select case when pause_odd then 0 else paused_until - back end as until_ms) until
    cross join lateral (
      select greatest(now_ms, until_ms) + ${rules.aheadMs.high}::float8 as high_end,
        greatest(now_ms, until_ms) + ${rules.aheadMs.low}::float8 as low_end
    ) ended
    cross join lateral (
      select high_at - back > high_end + ${clockSlackMs}::float8 as high_odd,
        low_at - back > low_end + ${clockSlackMs}::float8 as low_odd
    ) odd`
}
