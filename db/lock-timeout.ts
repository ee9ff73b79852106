import type { Database } from './client.ts'

/**
 * For the end of a `where`, a condition that is true: from then on the statement waits so many milliseconds for a lock, and
 * is refused (55P03). A filter is looked at before a row is locked. What it sets ends with the transaction, which is the
 * statement; as a setting of the connection it would not get through PgBouncer. Nothing where no time is told.
 */
export function waitingAtMost(db: Database, lockTimeoutMs: number | undefined) {
  const sql = db.$client
  if (lockTimeoutMs === undefined) return sql``
  return sql` and set_config('lock_timeout', ${String(lockTimeoutMs)}, true) is not null`
}
