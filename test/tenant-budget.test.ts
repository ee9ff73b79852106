import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import {
  findBudget,
  pauseBudget,
  promiseSlot,
  registerBudget,
  settleUnits,
  type Slot,
} from '../db/tenant-budgets.ts'
import { createTenantBudget } from '../src/graph/throttle.ts'
import { Throttled } from '../src/errors.ts'
import { givenBudget, key, pauses, rules } from './support/budget.ts'

const { given, ask, secondsFor, pass } = givenBudget()

test('a quiet tenant has a burst at once, and after that a turn a unit', async () => {
  const waits = []
  for (let turn = 0; turn < 5; turn += 1) waits.push(await secondsFor('high'))
  expect(waits).toEqual([0, 0, 1, 2, 3])
})

test('many who ask at once get each a turn of their own', async () => {
  const turns = await Promise.all(Array.from({ length: 40 }, () => secondsFor('high')))
  expect(turns.toSorted((a, b) => a - b)).toEqual([
    0,
    0,
    ...Array.from({ length: 38 }, (_, turn) => turn + 1),
  ])
})

test('who shows a slot in time goes ahead, and it costs nothing more', async () => {
  await ask('high', 2)
  const { slot, waitMs } = await ask('high', 3)
  await pass(waitMs)
  expect(await ask('high', 3, { ...slot, at: slot.at - waitMs })).toMatchObject({ waitMs: 0 })
  expect(await secondsFor('high')).toBe(1)
})

test('a slot that is long past is void, so that workers which were away do not all go at once', async () => {
  await ask('high', 2)
  const { slot } = await ask('high', 1)
  await ask('high', 30)
  const late = { ...slot, at: slot.at - rules.slotLifeMs - 2000 }
  expect(await secondsFor('high', 1, late)).toBe(32)
})

test('a slot that is shown before its moment is kept, and waits for the rest', async () => {
  await ask('high', 2)
  const { slot, waitMs } = await ask('high', 4)
  await pass(waitMs - 2000)
  const moved = { ...slot, at: slot.at - (waitMs - 2000) }
  const early = await ask('high', 4, moved)
  expect(Math.round(early.waitMs / 1000)).toBe(2)
  expect(early.slot).toEqual(moved)
  // Nothing was promised twice.
  expect(await secondsFor('high', 1)).toBe(3)
  await pass(early.waitMs)
  const due = { ...slot, at: moved.at - early.waitMs }
  expect(await ask('high', 4, due)).toMatchObject({ waitMs: 0 })
})

test('slots that are all shown at once, long before their moments, give no more than the burst', async () => {
  const slots: Slot[] = []
  for (let turn = 0; turn < 20; turn += 1) slots.push((await ask('high', 1)).slot)
  let granted = 0
  for (const slot of slots.slice(2)) if ((await ask('high', 1, slot)).waitMs === 0) granted += 1
  expect(granted).toBeLessThanOrEqual(1)
})

test('a lane that is full as far ahead as slots are promised is looked at anew when that time has come', async () => {
  await ask('high', 600)
  const full = await ask('high', 1)
  expect(Math.round(full.waitMs / 1000)).toBe(599)
  for (let turn = 0; turn < 5; turn += 1) expect(await secondsFor('high', 1)).toBe(599)
  await pass(full.waitMs)
  expect(await secondsFor('high', 1, { ...full.slot, at: Date.now() })).toBe(0)
  expect(await secondsFor('high', 1)).toBe(1)
})

test('a sign-in takes the turn of a resync, which then comes at the end', async () => {
  await ask('low', 2)
  const first = await ask('low', 1)
  for (let turn = 0; turn < 10; turn += 1) await ask('low', 1)
  // Two units of burst are used; a sign-in doesn't see the eleven that resyncs were promised.
  expect(await secondsFor('high', 1)).toBe(0)
  await pass(1000)
  expect(await secondsFor('low', 1, { ...first.slot, at: first.slot.at - 1000 })).toBe(11)
  // The debt is paid: the next resync keeps its turn.
  const fresh = { ...first.slot, at: Date.now() }
  expect(await secondsFor('low', 1, fresh)).toBe(0)
})

test.for([
  ['less is taken keeps it', 3, 0],
  ['as much is taken gives it up', 5, 10],
] as const)('a batch from whose turn %s', async ([, signIns, seconds]) => {
  await ask('high', 2)
  const { slot, waitMs } = await ask('low', 10)
  await ask('low', 10)
  for (let signIn = 0; signIn < signIns; signIn += 1) await ask('high', 2)
  await pass(waitMs)
  const due = { ...slot, at: slot.at - waitMs }
  const again = await ask('low', 10, due)
  expect(Math.round(again.waitMs / 1000) >= seconds && again.waitMs > 0).toBe(seconds > 0)
})

test('a resync waits behind every sign-in', async () => {
  for (let turn = 0; turn < 5; turn += 1) await ask('high', 1)
  expect(await secondsFor('low', 1)).toBe(4)
})

test('a read that cost more, or less, moves the turns that are promised next', async () => {
  await ask('high', 2)
  await settleUnits(given.db, key, rules, { units: 7, priority: 'high', pace: 1 })
  expect(await secondsFor('high', 1)).toBe(8)
  await settleUnits(given.db, key, rules, { units: -5, priority: 'high', pace: 1 })
  expect(await secondsFor('high', 1)).toBe(4)
})

test('what a resync cost does not hold up sign-ins', async () => {
  await settleUnits(given.db, key, rules, { units: 50, priority: 'low', pace: 1 })
  expect(await secondsFor('high', 1)).toBe(0)
  expect(await secondsFor('low', 1)).toBeGreaterThan(40)
})

test('no read, whatever Graph says that it cost, moves the turns by more than a bound', async () => {
  const bounded = { ...rules, settleMs: 20_000 }
  await settleUnits(given.db, key, bounded, { units: 999_999, priority: 'high', pace: 1 })
  expect(await secondsFor('high', 1, undefined, bounded)).toBe(19)
})

test('near the limit turns come slower, and faster again with time', async () => {
  const recovering = { ...rules, recoverMs: 100_000 }
  await settleUnits(given.db, key, recovering, { units: 0, priority: 'high', pace: 0.5 })
  expect((await findBudget(given.db, key, recovering))?.pace).toBeCloseTo(0.5, 1)
  const first = await ask('high', 10, undefined, recovering)
  expect(Math.round(first.waitMs / 1000)).toBe(18)
  await pass(25_000)
  expect((await findBudget(given.db, key, recovering))?.pace).toBeCloseTo(0.75, 1)
  await pass(1_000_000)
  expect((await findBudget(given.db, key, recovering))?.pace).toBe(1)
})

describe('a pause', () => {
  const pause = (ms: number) => pauseBudget(given.db, key, { ...rules, ...pauses }, ms)

  test('makes every slot void and begins new ones after it, one after the other and slower', async () => {
    await ask('high', 2)
    const before = await ask('high', 1)
    await pause(30_000)
    expect(await secondsFor('high', 1, { ...before.slot, at: Date.now() })).toBe(32)
    expect(await secondsFor('high', 1)).toBe(34)
    expect(await secondsFor('low', 1)).toBe(36)
  })

  test('leaves other tenants and other registrations alone', async () => {
    await pause(30_000)
    for (const other of [
      { clientId: 'client', tenantId: 'another' },
      { clientId: 'another', tenantId: 'tenant' },
    ]) {
      await registerBudget(given.db, other)
      expect(await promiseSlot(given.db, other, rules, { priority: 'high', units: 1 })).toMatchObject({
        waitMs: 0,
      })
    }
  })

  test('answers that come during it do not begin another, and only a longer one prolongs it', async () => {
    expect(Math.round((await pause(10_000)) / 1000)).toBe(10)
    const promised = await ask('high', 3)
    expect(Math.round((await pause(5000)) / 1000)).toBe(10)
    await pass(promised.waitMs)
    const shown = { ...promised.slot, at: promised.slot.at - promised.waitMs }
    expect(await ask('high', 3, shown)).toMatchObject({ waitMs: 0 })
    const { pace } = (await findBudget(given.db, key, rules))!
    expect(pace).toBeCloseTo(0.5, 2)
  })

  test('that is always asked to be short grows, to a bound, and is short again after a quiet time', async () => {
    const lengths = []
    for (let turn = 0; turn < 6; turn += 1) {
      const ms = await pause(1000)
      lengths.push(Math.round(ms / 1000))
      await pass(ms + 10)
    }
    expect(lengths).toEqual([1, 2, 4, 8, 8, 8])
    await pass(pauses.forgetMs)
    expect(Math.round((await pause(500)) / 1000)).toBe(1)
  })
})

test('whatever the order of sign-ins, resyncs, shown slots and time, no stretch of time has more than its units and a burst', async () => {
  const step = fc.record({
    priority: fc.constantFrom('high' as const, 'low' as const),
    units: fc.integer({ min: 1, max: 4 }),
    passes: fc.integer({ min: 0, max: 3000 }),
  })
  await fc.assert(
    fc.asyncProperty(fc.array(step, { minLength: 5, maxLength: 25 }), async (steps) => {
      await given.db.$client`delete from tenant_budgets`
      await registerBudget(given.db, key)
      let clock = 0
      const gone: { at: number; units: number }[] = []
      let waiting: { priority: 'high' | 'low'; units: number; slot: Slot; due: number; clock: number }[] = []
      const go = async (priority: 'high' | 'low', units: number, slot?: Slot) => {
        const told = await ask(priority, units, slot)
        if (told.waitMs === 0) gone.push({ at: clock, units })
        else waiting.push({ priority, units, slot: told.slot, due: clock + told.waitMs, clock })
      }
      const passing = async (ms: number) => {
        for (let until = clock + ms; clock < until;) {
          const next = waiting.toSorted((a, b) => a.due - b.due)[0]
          const to = Math.min(until, Math.max(next?.due ?? until, clock))
          await pass(to - clock)
          clock = to
          if (next && next.due <= clock) {
            waiting = waiting.filter((one) => one !== next)
            await go(next.priority, next.units, { ...next.slot, at: next.slot.at - (clock - next.clock) })
          } else if (clock === until) break
        }
      }
      for (const { priority, units, passes } of steps) {
        await go(priority, units)
        await passing(passes)
      }
      while (waiting.length > 0) await passing(1000)
      for (const [index, first] of gone.entries()) {
        let units = 0
        for (const one of gone.slice(index)) {
          units += one.units
          // The tests' statements take some time of their own, hence one unit more.
          const allowed = (one.at - first.at) / 1000 + rules.burstMs / 1000 + first.units + 1
          expect(units).toBeLessThanOrEqual(allowed + 4)
        }
      }
      expect(gone).toHaveLength(steps.length)
    }),
    { numRuns: 15 },
  )
})

test('the budget says when to come back with an error that carries the slot', async () => {
  const budget = createTenantBudget({ db: given.db, key, unitsPer10s: 10 })
  const first = budget.takeTurn({ priority: 'high' })
  await expect(first).rejects.toBeInstanceOf(Throttled)
  await expect(first).rejects.toMatchObject({ code: 'throttled', slot: { generation: 0 } })
})

test('a budget that a crash of the server has emptied is begun anew', async () => {
  const budget = createTenantBudget({ db: given.db, key, unitsPer10s: 3500 })
  await budget.takeTurn({ priority: 'high' })
  await given.db.$client`truncate tenant_budgets`
  await expect(budget.takeTurn({ priority: 'high' })).resolves.toMatch(/^\d{4}-/)
  await given.db.$client`truncate tenant_budgets`
  const told = await budget.pause('high', new Throttled(7000, 'a pause'))
  expect(told.retryAfterMs).toBeGreaterThan(6000)
})
