import { sql } from 'drizzle-orm'
import postgres from 'postgres'
import { afterAll, beforeAll, expect, inject, test } from 'vitest'
import { migrateDatabase } from '../db/migrate.ts'
import { createTestDatabase, type TestDatabase } from './support/database.ts'

let database: TestDatabase

beforeAll(async () => {
  database = await createTestDatabase()
})
afterAll(() => database.close())

test('four processes that migrate an empty database at once all succeed', async () => {
  const admin = postgres(inject('postgresUrl'), { max: 1 })
  await admin`create database migrate_at_once`
  const url = new URL(inject('postgresUrl'))
  url.pathname = '/migrate_at_once'
  const ends = await Promise.allSettled([1, 2, 3, 4].map(() => migrateDatabase(url.href)))
  expect(ends.map(({ status }) => status)).toEqual(Array(4).fill('fulfilled'))
  await admin`drop database migrate_at_once with (force)`
  await admin.end()
})

test('a row of the change log can be neither changed nor removed', async () => {
  const { db } = database
  await db.execute(sql`insert into membership_changes (user_id, group_id, origin, change)
    values (gen_random_uuid(), gen_random_uuid(), 'local', 'added')`)
  await expect(db.$client`update membership_changes set change = 'removed'`).rejects.toMatchObject({
    code: '23001',
  })
  await expect(db.$client`delete from membership_changes`).rejects.toMatchObject({ code: '23001' })
  await expect(db.$client`truncate membership_changes`).rejects.toMatchObject({ code: '23001' })
})
