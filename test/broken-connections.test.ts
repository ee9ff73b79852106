import postgres from 'postgres'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { closeDatabase, openDatabase } from '../db/client.ts'
import { openQueuePool } from '../src/queue/postgres.ts'
import { createTestDatabase, type TestDatabase } from './support/database.ts'

let database: TestDatabase
let admin: postgres.Sql

beforeAll(async () => {
  database = await createTestDatabase()
  admin = postgres(database.url, { max: 1, connection: { application_name: 'admin' }, fetch_types: false })
})
afterAll(async () => {
  await admin.end()
  await database.close()
})

const cutAll = async () => {
  await admin`select pg_terminate_backend(pid) from pg_stat_activity
    where datname = current_database() and application_name like 'entra-group-sync%'`
}

// The test runner fails for an error that nobody could catch, as the process would end for one.
test('connections that break while they open end in errors of the calls that used them', async () => {
  const settled: PromiseSettledResult<unknown>[] = []
  for (let round = 0; round < 6; round += 1) {
    const db = openDatabase(database.url, { max: 6 })
    const queries = Array.from({ length: 6 }, () => db.$client`select 1`)
    for (let cut = 0; cut < 4; cut += 1) await cutAll()
    settled.push(...(await Promise.allSettled(queries)))
    await closeDatabase(db)
  }
  expect(settled).toHaveLength(36)
})

test('the driver sends no query of its own, since nobody could catch its failure', async () => {
  const db = openDatabase(database.url, { max: 1 })
  await db.$client`select 1`
  const [row] = await db.$client`select query from pg_stat_activity where pid = pg_backend_pid()`
  expect(db.$client.options.fetch_types).toBe(false)
  expect(row?.['query']).toContain('pg_stat_activity')
  await closeDatabase(db)
})

test('a connection of the queue that breaks while BullMQ holds it ends in an error of its call, and the pool goes on', async () => {
  const pool = await openQueuePool(database.url, 'worker', 2)
  const client = await pool.connect()
  await client.query('begin')
  await cutAll()
  // Which error depends on what the driver hears first: the server's farewell or the closed socket.
  await expect(client.query('select 1')).rejects.toBeInstanceOf(Error)
  client.release(true)
  expect(await pool.query('select 1 as alive')).toMatchObject({ rows: [{ alive: 1 }] })
  await pool.end()
})
