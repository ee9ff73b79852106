import type { ISql } from 'postgres'
import type { Database } from './client.ts'
import { transaction } from './transaction.ts'

/** Any number, as long as no other advisory lock of ours has it. */
const scheduleLock = 6_201_208

/** Runs `work` while no other process does so: workers that start together would make the same schedule at once. */
export async function withScheduleLock(db: Database, work: () => Promise<void>): Promise<void> {
  const lock = async (sql: ISql) => {
    await sql`select pg_advisory_xact_lock(${scheduleLock})`
    await work()
  }
  // All that start at once wait for each other.
  await transaction(db, lock, { limitSeconds: 300 })
}
