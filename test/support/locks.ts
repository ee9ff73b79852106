import type { Database } from '../../db/client.ts'

/** Until a statement of ours waits for a lock. */
export async function waitForWaiter(db: Database): Promise<void> {
  for (;;) {
    const waiting = await db.$client`select from pg_stat_activity
      where datname = current_database() and wait_event_type = 'Lock'`
    if (waiting.length > 0) return
  }
}
