import { randomBytes } from 'node:crypto'
import postgres from 'postgres'
import { beforeAll, inject } from 'vitest'
import { closeDatabase, openDatabase, type Database } from '../../db/client.ts'

export type TestDatabase = { db: Database; url: string; close: () => Promise<void> }

/** A migrated database of its own for a test file, on the run's real PostgreSQL. `close` drops it. */
export async function createTestDatabase(options: { max?: number } = {}): Promise<TestDatabase> {
  const adminUrl = inject('postgresUrl')
  const name = `test_${randomBytes(6).toString('hex')}`
  await asAdmin(adminUrl, (sql) => sql`create database ${sql(name)} template migrated`)
  const url = new URL(adminUrl)
  url.pathname = `/${name}`
  const db = openDatabase(url.href, options)
  return {
    db,
    url: url.href,
    close: async () => {
      await closeDatabase(db)
      await asAdmin(adminUrl, (sql) => sql`drop database ${sql(name)} with (force)`)
    },
  }
}

/** A database for the tests of the file that calls it; there is none before they begin. */
export function givenDatabase(): Readonly<Pick<TestDatabase, 'db' | 'url'>> {
  let opened: TestDatabase | undefined
  beforeAll(async () => {
    opened = await createTestDatabase()
    return opened.close
  })
  const given = () => {
    if (!opened) throw new Error('the database is opened before the tests, not before their file')
    return opened
  }
  return {
    get db() {
      return given().db
    },
    get url() {
      return given().url
    },
  }
}

async function asAdmin(url: string, statement: (sql: postgres.Sql) => PromiseLike<unknown>): Promise<void> {
  const sql = postgres(url, { max: 1, onnotice: () => undefined })
  try {
    await statement(sql)
  } finally {
    await sql.end()
  }
}
