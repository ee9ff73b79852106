import type { Database } from '../../db/client.ts'

export type Logged = {
  userId: string
  groupId: string
  origin: 'entra' | 'local'
  change: 'added' | 'removed'
  /** ISO 8601 in UTC with microseconds, so that texts compare as times do. */
  at: string
}

export type Standing = { id: string; origins: string[]; since: string }

const iso = 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'

/** The whole change log of these people, in its own order. */
export async function readLog(db: Database, userIds: readonly string[]): Promise<Logged[]> {
  return await db.$client<Logged[]>`
    select user_id as "userId", group_id as "groupId", origin, change, to_char(at at time zone 'utc', ${iso}) as at
    from membership_changes where user_id = any(${`{${userIds.join(',')}}`}::text::uuid[]) order by id`
}

/** The memberships of one person, or of one group, that a log leads to up to a moment, in the order of their ids. */
export function replayTo(
  log: readonly Logged[],
  asOf: string,
  one: { userId: string } | { groupId: string },
): Standing[] {
  const held = new Map<string, Map<string, string>>()
  for (const { userId, groupId, origin, change, at } of log) {
    if (at > asOf || ('userId' in one ? userId !== one.userId : groupId !== one.groupId)) continue
    const id = 'userId' in one ? groupId : userId
    const origins = held.get(id) ?? new Map<string, string>()
    if (change === 'added') origins.set(origin, at)
    else origins.delete(origin)
    held.set(id, origins)
  }
  return [...held]
    .filter(([, origins]) => origins.size > 0)
    .map(([id, origins]) => ({
      id,
      origins: [...origins.keys()].toSorted(),
      since: [...origins.values()].toSorted()[0]!,
    }))
    .toSorted((a, b) => (a.id < b.id ? -1 : 1))
}

/** Every moment at which something changed, one microsecond before and after it, and long before all. */
export function momentsOf(log: readonly Logged[]): string[] {
  const moments = log.flatMap(({ at }) => [shifted(at, -1), at, shifted(at, 1)])
  return [...new Set(['1970-01-01T00:00:00.000000Z', ...moments])].toSorted()
}

function shifted(at: string, microseconds: number): string {
  const seconds = Date.parse(`${at.slice(0, 19)}Z`) / 1000
  const total = BigInt(seconds) * 1_000_000n + BigInt(at.slice(20, 26)) + BigInt(microseconds)
  const whole = new Date(Number(total / 1_000_000n) * 1000).toISOString().slice(0, 19)
  return `${whole}.${String(total % 1_000_000n).padStart(6, '0')}Z`
}

/** The time by the clock that dates all changes. */
export async function clockOf(db: Database): Promise<string> {
  const [row] = await db.$client<{ now: string }[]>`
    select to_char(clock_timestamp() at time zone 'utc', ${iso}) as now`
  return row!.now
}
