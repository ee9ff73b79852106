import type { Database } from './client.ts'

/**
 * Condition on a row of `users`: what is stored was read later than `beganAt`; false where nothing is known of that. A
 * moment still to come was told by a database clock that has been put back since: it would make every read stale until
 * the clock gets there.
 */
export function isNewer(db: Database, beganAt: string) {
  return db.$client`(snapshot_at is not null and snapshot_at > ${beganAt}::timestamptz
    and snapshot_at <= clock_timestamp() + interval '5 seconds')`
}
