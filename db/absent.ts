import type { Database } from './client.ts'

/** What is stored of a person is not to be relied on from now on; their next run that ends well takes that back. */
export async function freezeUser(db: Database, userId: string): Promise<void> {
  await db.$client`update users set frozen_at = coalesce(frozen_at, clock_timestamp()) where id = ${userId}`
}
