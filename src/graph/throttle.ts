import type { Database } from '../../db/client.ts'
import {
  findBudget,
  pauseBudget,
  promiseSlot,
  registerBudget,
  settleUnits,
  type BudgetKey,
  type BudgetRules,
  type BudgetState,
  type PauseRules,
  type Slot,
} from '../../db/tenant-budgets.ts'
import { Throttled } from '../errors.ts'
import type { GraphClient, GraphPriority } from './client.ts'
import type { GraphUsage } from './usage.ts'

/** What a read costs as far as one knows beforehand: `/me` and the first page of groups, a unit each. */
export const unitsOfRead = 2

/** A sign-in's attempt may wait for an hour, and no answer asks for a longer pause. A large resync takes most of a day. */
const rules: Omit<BudgetRules, 'unitsPer10s'> = {
  burstMs: 500,
  slotLifeMs: 4000,
  earlyMs: 50,
  recoverMs: 60_000,
  settleMs: 30_000,
  aheadMs: { high: 3_600_000, low: 86_400_000 },
  pauseMs: 3_600_000,
}

const pauseRules: PauseRules = { floorMs: 1000, capMs: 300_000, forgetMs: 60_000, slowTo: 0.5 }

/** The budget of one app registration in one tenant, shared by every process through Postgres. */
export type TenantBudget = {
  /**
   * Takes the units for one read, or says when to come back. Resolves with the time by the database's clock (ISO 8601).
   * @throws {Throttled} with the slot to show then, where the tenant's units are used up for now.
   */
  takeTurn: (turn: {
    priority: GraphPriority
    slot?: Slot | undefined
    /** Resource units; default {@link unitsOfRead}. */
    units?: number
  }) => Promise<string>
  /**
   * Tells what requests really cost beyond the units taken for them, {@link unitsOfRead} for a turn, and how near to its
   * limit Graph says the tenant is. Writes nothing if all was as expected.
   */
  settle: (priority: GraphPriority, usage: GraphUsage, taken?: number) => Promise<void>
  /** Graph asked for a pause: nobody asks this tenant before it is over. The error to throw, with a slot after the pause. */
  pause: (priority: GraphPriority, asked: Throttled) => Promise<Throttled>
  /** How it stands, for who watches. */
  state: () => Promise<BudgetState | undefined>
}

/** Other tenants and other registrations have budgets of their own. */
export function createTenantBudget(parts: {
  db: Database
  key: BudgetKey
  unitsPer10s: number
}): TenantBudget {
  const { db, key } = parts
  const budget = { ...rules, unitsPer10s: parts.unitsPer10s }
  const promise = async (priority: GraphPriority, slot?: Slot, units = unitsOfRead) => {
    const request = { units, priority, slot }
    for (;;) {
      const promised = await promiseSlot(db, key, budget, request)
      if (promised) return promised
      // The first who asks, or the first after a crash of the server, which empties an unlogged table.
      await registerBudget(db, key)
    }
  }
  return {
    takeTurn: async ({ priority, slot, units }) => {
      const promised = await promise(priority, slot, units)
      if (promised.waitMs > 0) {
        throw new Throttled(promised.waitMs, "the tenant's units are used up for now", {
          slot: promised.slot,
        })
      }
      return promised.now
    },
    settle: async (priority, usage, taken = unitsOfRead) => {
      const units = usage.units - taken
      const pace = paceFor(usage.limitShare)
      if (units !== 0 || pace < 1) await settleUnits(db, key, budget, { units, priority, pace })
    },
    pause: async (priority, asked) => {
      await registerBudget(db, key)
      await pauseBudget(db, key, { ...budget, ...pauseRules }, asked.retryAfterMs)
      const { waitMs, slot } = await promise(priority)
      return new Throttled(Math.max(waitMs, 1), asked.message, { slot, requestId: asked.requestId })
    },
    state: async () => await findBudget(db, key, budget),
  }
}

/** The tenant is paused by what Graph has told somebody before: known from the books, so that it makes no pause of its own. */
export class PauseGoesOn extends Throttled {
  constructor(leftMs: number) {
    super(leftMs, 'Graph has asked for a pause, which goes on')
    this.name = 'PauseGoesOn'
  }
}

/**
 * For requests that wait for no turn. Books that can't be read hold nobody up.
 * @throws {PauseGoesOn}
 */
export async function heedPause(budget: Pick<TenantBudget, 'state'>): Promise<void> {
  const { pausedMs = 0 } = (await budget.state().catch(() => undefined)) ?? {}
  if (pausedMs > 0) throw new PauseGoesOn(pausedMs)
}

/**
 * The client for a read of many requests: only the first has had its turn, and a pause that somebody else's answer makes
 * meanwhile holds for the rest.
 */
export function heedingPauses(client: GraphClient, budget: Pick<TenantBudget, 'state'>): GraphClient {
  let isFirst = true
  return {
    ...client,
    request: async (request) => {
      if (!isFirst) await heedPause(budget)
      isFirst = false
      return await client.request(request)
    },
  }
}

/** What a request ended in, for whoever asked; where Graph asked for a pause, after everybody was told of it. */
export async function pausedBy(
  thrown: unknown,
  budget: Pick<TenantBudget, 'pause'>,
  priority: GraphPriority,
): Promise<unknown> {
  // Entra's token endpoint speaks for itself alone.
  const isAsked = thrown instanceof Throttled && thrown.by === 'graph' && !(thrown instanceof PauseGoesOn)
  if (!isAsked || thrown.slot) return thrown
  return await budget.pause(priority, thrown).catch(() => thrown)
}

/**
 * Pure. The share of the rate to use where Graph says that so much of its limit is used. It says so from 0.8 on; at 1.0
 * throttling starts, at 1.2 a fifth and at 1.8 four fifths of the requests are refused (Graph docs: throttling, identity
 * and access). So it is a little slower before the limit and much slower behind it, where others use the tenant too.
 */
export function paceFor(limitShare: number | undefined): number {
  if (limitShare === undefined || limitShare < 0.8) return 1
  if (limitShare <= 1) return 1 - (limitShare - 0.8) / 4
  return Math.max(0.2, 0.95 - (limitShare - 1) * 0.9)
}
