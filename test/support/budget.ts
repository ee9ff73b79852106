import { beforeEach } from 'vitest'
import { promiseSlot, registerBudget, type Slot } from '../../db/tenant-budgets.ts'
import { givenDatabase } from './database.ts'

export const key = { clientId: 'client', tenantId: 'tenant' }

/** A unit a second: beside that, the time a statement takes is nothing. */
export const rules = {
  unitsPer10s: 10,
  burstMs: 2000,
  slotLifeMs: 500,
  earlyMs: 300,
  recoverMs: 1e12,
  settleMs: 100_000,
  aheadMs: { high: 600_000, low: 1_200_000 },
  pauseMs: 60_000,
}
export const pauses = { floorMs: 1000, capMs: 8000, forgetMs: 60_000, slowTo: 0.5 }

/** A budget that is registered anew before each test. */
export function givenBudget() {
  const given = givenDatabase()

  async function ask(priority: 'high' | 'low', units = 1, slot?: Slot, slower = rules) {
    const promised = await promiseSlot(given.db, key, slower, { priority, units, slot })
    if (!promised) throw new Error('the budget is registered before each test')
    return promised
  }

  /** Seconds, rounded: when it is told to come. */
  const secondsFor = async (...asked: Parameters<typeof ask>) =>
    Math.round((await ask(...asked)).waitMs / 1000)

  /** Lets the tenant's time pass: everything that is remembered is so much longer ago. */
  const pass = async (ms: number) => {
    await given.db.$client`update tenant_budgets set high_at = high_at - ${ms}, low_at = low_at - ${ms},
      paced_at = paced_at - ${ms}, paused_until = paused_until - ${ms}`
  }

  beforeEach(async () => {
    await given.db.$client`delete from tenant_budgets`
    await registerBudget(given.db, key)
  })

  return { given, ask, secondsFor, pass }
}
