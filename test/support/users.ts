import { randomUUID } from 'node:crypto'
import { beforeEach } from 'vitest'
import type { Database } from '../../db/client.ts'
import type { Subject } from '../../src/reconcile/reconcile.ts'
import { givenDatabase } from './database.ts'

/** A user nobody has read yet, of a tenant of their own unless one is given. */
export async function insertUser(db: Database, tenantId: string = randomUUID()): Promise<Subject> {
  const [user] = await db.$client<{ id: string }[]>`
    insert into users (tenant_id, object_id) values (${tenantId}, ${randomUUID()}) returning id`
  return { userId: user?.id ?? '', tenantId }
}

/** Before each test of the file that calls it: a new user, in a database of the file's own. */
export function givenUser(take: (given: { db: Database; user: Subject }) => void): void {
  const database = givenDatabase()
  beforeEach(async () => take({ db: database.db, user: await insertUser(database.db) }))
}
