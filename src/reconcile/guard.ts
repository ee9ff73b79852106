import type { Plan } from './plan.ts'

/** From which removals on a plan is held; both limits must be reached. */
export type GuardLimits = {
  /** Removals. */
  minRemovals: number
  /** Share of the memberships that would go, from 0 to 1: of the person's or, for a whole resync, of the source's. */
  maxShare: number
}

/** Holds nothing. */
export const noGuard: GuardLimits = { minRemovals: Number.POSITIVE_INFINITY, maxShare: 1 }

export type Guarded = {
  /** What may be applied: all of the plan, or the plan without its removals. */
  plan: Plan
  /** Ids of the groups whose removal is held back. */
  held: readonly string[]
  /** Which limit holds it; undefined where nothing is held. */
  by?: 'person' | 'reach' | 'resync'
}

const hold = (plan: Plan, by: NonNullable<Guarded['by']>): Guarded => ({
  plan: { ...plan, remove: [] },
  held: plan.remove,
  ...(plan.remove.length > 0 && { by }),
})
const pass = (plan: Plan): Guarded => ({ plan, held: [] })

/**
 * Pure. Holds the removals of a plan that would take away too much at once: an answer can be complete, consistent and
 * wrong.
 */
export function guardPlan(plan: Plan, memberships: number, limits: GuardLimits): Guarded {
  const removals = plan.remove.length
  const tooMuch = removals >= limits.minRemovals && removals >= memberships * limits.maxShare
  return tooMuch ? hold(plan, 'person') : pass(plan)
}

/**
 * Pure. Lets the removals pass that an administrator has agreed to, group by group: what nobody agreed to isn't carried
 * out in the name of what somebody did.
 */
export function releaseApproved({ plan, held, by }: Guarded, approved: ReadonlySet<string>): Guarded {
  const agreed = held.filter((id) => approved.has(id))
  return {
    plan: { ...plan, remove: [...plan.remove, ...agreed] },
    held: held.filter((id) => !approved.has(id)),
    ...(by && { by }),
  }
}

/** What a token let its read see. */
export type Reach = {
  /** Groups with hidden membership. */
  hidden: boolean
  /** Groups at all, with their names. */
  groups: boolean
}

/**
 * Pure. Holds all removals of a plan made without a permission that the stored memberships were read with: what isn't
 * listed may be out of sight now, and not left.
 */
export function guardReach(plan: Plan, read: { before: Reach; now: Reach }): Guarded {
  const { before, now } = read
  const isLost = (before.hidden && !now.hidden) || (before.groups && !now.groups)
  return isLost ? hold(plan, 'reach') : pass(plan)
}

/** What a resync has done so far to the people of its source, counted before a plan of it is applied. */
export type ResyncSoFar = {
  /** Memberships removed. */
  removed: number
  /** Memberships of origin `entra` that the source's people have. */
  memberships: number
}

/**
 * Pure. Holds the removals of one plan where they and those its resync has made before reach both limits together: a few
 * groups taken from everybody. The share is of what there was before the resync removed anything.
 */
export function guardResync(plan: Plan, soFar: ResyncSoFar, limits: GuardLimits): Guarded {
  return isTooMuch(plan.remove.length, soFar, limits) ? hold(plan, 'resync') : pass(plan)
}

/** Pure. Whether so many removals more would reach both limits. */
export function isTooMuch(removals: number, soFar: ResyncSoFar, limits: GuardLimits): boolean {
  const removed = soFar.removed + removals
  const all = soFar.removed + soFar.memberships
  return removals > 0 && removed >= limits.minRemovals && removed >= all * limits.maxShare
}
