import { describe, expect, test } from 'vitest'
import { findBudget, pauseBudget } from '../db/tenant-budgets.ts'
import { givenBudget, key, pauses, rules } from './support/budget.ts'

const { given, ask, secondsFor, pass } = givenBudget()

describe('a clock of the database that was ahead', () => {
  /** As it was before the clock was put back: every time in the row is later. */
  const putBack = async (ms: number) => await pass(-ms)

  test.for([20_000, 1_000_000, 1e9])('and is put back by %i ms leaves who waits as they were', async (ms) => {
    await ask('high', 2)
    const before = await ask('high', 3)
    await putBack(ms)
    // The promise was made by the other clock, so it is void; the order is kept.
    expect(await secondsFor('high', 1, { ...before.slot, at: Date.now() })).toBe(4)
    expect(await secondsFor('high', 1)).toBe(5)
    expect(await secondsFor('low', 1)).toBe(6)
  })

  test('does not stretch a pause', async () => {
    await pauseBudget(given.db, key, { ...rules, ...pauses }, 10_000)
    await putBack(3_600_000)
    const { pausedMs } = (await findBudget(given.db, key, rules))!
    expect(Math.round(pausedMs / 1000)).toBe(10)
    expect(await secondsFor('high', 1)).toBe(12)
  })

  test.for(['high_at', 'low_at', 'paused_until'])('leaves no %s that no rule allows', async (column) => {
    const { slot } = await ask('high', 1)
    const sql = given.db.$client
    await sql`update tenant_budgets set ${sql(column)} = extract(epoch from clock_timestamp()) * 1000 + 1e9`
    expect(await secondsFor('low', 1)).toBeLessThan(3)
    expect((await ask('low', 1)).slot.generation).toBe(slot.generation + 1)
  })
})
