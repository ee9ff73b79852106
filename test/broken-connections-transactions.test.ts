import type { ISql } from 'postgres'
import { afterAll, beforeAll, expect, test, vi } from 'vitest'
import { closeDatabase, openDatabase, type Database } from '../db/client.ts'
import { withRefreshLock } from '../db/delegated-tokens.ts'
import { isUnreachable } from '../db/reachable.ts'
import { transaction } from '../db/transaction.ts'
import { openCutter } from './support/cuts.ts'
import { createTestDatabase, type TestDatabase } from './support/database.ts'

let database: TestDatabase
let cutter: ReturnType<typeof openCutter>
let db: Database

beforeAll(async () => {
  database = await createTestDatabase()
  cutter = openCutter(database.url)
  db = openDatabase(database.url, { max: 20 })
})
afterAll(async () => {
  await closeDatabase(db)
  await cutter.close()
  await database.close()
})

const numbers = Array.from({ length: 20 }, (_, at) => at)
const userId = '00000000-0000-0000-0000-000000000001'

/** What a promise is rejected with. */
async function refusal(running: Promise<unknown>): Promise<unknown> {
  return await running.then(
    () => undefined,
    (error: unknown) => error,
  )
}

/**
 * The driver refuses the first statement on a connection that was cut during one with what PostgreSQL said then: it is asked
 * until every connection is a fresh one.
 */
async function afresh(): Promise<void> {
  const asked = async () =>
    Promise.all(numbers.map(async () => refusal(transaction(db, async (sql) => sql`select pg_sleep(0.02)`))))
  while ((await asked()).some((error) => error !== undefined));
}

// Here too the test runner fails for an error that nobody could catch, as the process would end for one.
test('a process lives through twenty cuts of twenty transactions, each of which is rejected, and works on', async () => {
  const errors: unknown[] = []
  for (let round = 0; round < 20; round += 1) {
    const elsewhere = Promise.withResolvers<void>()
    const inside = numbers.map(() => Promise.withResolvers<void>())
    const running = numbers.map(async (number) => {
      const ended = transaction(db, async (sql) => {
        await sql`select pg_advisory_xact_lock(${number})`
        inside[number]?.resolve()
        // Some wait for PostgreSQL, some for something else, and go on whatever has happened meanwhile.
        if (number % 2 === 0) await sql`select pg_sleep(60)`
        else await elsewhere.promise
        await sql`select ${'x'.repeat(number * 200)}::text`
      })
      return await refusal(ended)
    })
    await Promise.all(inside.map(async ({ promise }) => promise))
    await cutter.cutAll()
    // Half of them go on just as the driver hears of it.
    await Promise.race(running)
    elsewhere.resolve()
    errors.push(...(await Promise.all(running)))
    await afresh()
  }
  expect(errors).toHaveLength(400)
  expect(errors.filter((error) => !isUnreachable(error))).toEqual([])
  const rows = await Promise.all(
    numbers.map(async (number) => transaction(db, async (sql) => sql`select ${number}::int as number`)),
  )
  expect(rows.map(([row]) => row?.['number'])).toEqual(numbers)
})

test('a transaction that awaits something else while its connection is cut is rejected at once, and sends nothing more', async () => {
  const inside = Promise.withResolvers<void>()
  const elsewhere = Promise.withResolvers<void>()
  const later = Promise.withResolvers<unknown>()
  await db.$client`create table if not exists written (it int)`
  const running = refusal(
    transaction(db, async (sql) => {
      await sql`select 1`
      inside.resolve()
      await elsewhere.promise
      later.resolve(await refusal(sql`insert into written values (1)`))
    }),
  )
  await inside.promise
  await cutter.cutAll()
  expect(await running).toMatchObject({ code: 'CONNECTION_CLOSED' })
  // Its connection is another's by now, who must not write for it.
  await afresh()
  elsewhere.resolve()
  expect(await later.promise).toMatchObject({ code: 'CONNECTION_CLOSED' })
  expect(await db.$client`select from written`).toHaveLength(0)
})

test('of two renewals of a person that are cut, one at Entra and one that waits for it, both are rejected', async () => {
  const atEntra = Promise.withResolvers<void>()
  const answer = Promise.withResolvers<void>()
  const first = refusal(
    withRefreshLock(db, userId, 'entra', async () => {
      atEntra.resolve()
      await answer.promise
    }),
  )
  await atEntra.promise
  const second = refusal(withRefreshLock(db, userId, 'entra', async () => undefined))
  await vi.waitUntil(async () => {
    const { count } = await db.$client`select from pg_locks where locktype = 'advisory' and not granted`
    return count === 1
  })
  await cutter.cutAll()
  const errors = await Promise.all([first, second])
  answer.resolve()
  expect(errors.every(isUnreachable)).toBe(true)
  await afresh()
})

test('a transaction that has caught the end of its connection is rejected, not committed', async () => {
  const inside = Promise.withResolvers<void>()
  const running = refusal(
    transaction(db, async (sql) => {
      await sql`select 1`
      inside.resolve()
      await refusal(sql`select pg_sleep(60)`)
    }),
  )
  await inside.promise
  await cutter.cutAll()
  expect(isUnreachable(await running)).toBe(true)
  await afresh()
})

test('what PostgreSQL refuses undoes the transaction, and its connection serves the next', async () => {
  const one = openDatabase(database.url, { max: 1 })
  await one.$client`create table if not exists undone (it int)`
  const refused = transaction(one, async (sql) => {
    await sql`insert into undone values (1)`
    await sql`select 1 / 0`
  })
  expect(await refusal(refused)).toMatchObject({ code: '22012' })
  const thrown = new Error('thrown by the work')
  const failed = transaction(one, async (sql) => {
    await sql`insert into undone values (2)`
    throw thrown
  })
  expect(await refusal(failed)).toBe(thrown)
  expect(
    await transaction(one, async (sql) => sql`select from ${sql('undone')} where ${sql`true`}`),
  ).toHaveLength(0)
  await closeDatabase(one)
})

test('a transaction that outlives its limit is rejected as unreachable and undone, and its connection serves the next', async () => {
  const one = openDatabase(database.url, { max: 1 })
  await one.$client`create table if not exists slow (it int)`
  const never = Promise.withResolvers<void>()
  const work = async (sql: ISql) => {
    await sql`insert into slow values (1)`
    await never.promise
  }
  const running = refusal(transaction(one, work, { limitSeconds: 0.2 }))
  // It gets no connection before.
  const waiting = refusal(transaction(one, async () => 'begun', { limitSeconds: 0.1 }))
  const [slow, late] = await Promise.all([running, waiting])
  expect([slow, late]).toMatchObject([{ code: 'CONNECTION_TIMED_OUT' }, { code: 'CONNECTION_TIMED_OUT' }])
  expect(isUnreachable(slow)).toBe(true)
  expect(await one.$client`select from slow`).toHaveLength(0)
  await closeDatabase(one)
})
