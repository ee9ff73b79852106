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
  /** Removals held back. */
  held: number
}

/**
 * Pure. Holds the removals of a plan that would take away too much at once: an answer can be complete, consistent and
 * wrong. `approved` is how many removals an administrator has agreed to; more than that are held again.
 */
export function guardPlan(plan: Plan, memberships: number, limits: GuardLimits, approved = 0): Guarded {
  const removals = plan.remove.length
  const tooMuch = removals >= limits.minRemovals && removals >= memberships * limits.maxShare
  if (!tooMuch || removals <= approved) return { plan, held: 0 }
  return { plan: { ...plan, remove: [] }, held: removals }
}

/**
 * Pure. Holds all removals of a plan made without the permission to see groups with hidden membership, where the stored
 * memberships were read with it: what isn't listed may be hidden now and not left.
 */
export function guardHidden(plan: Plan, read: { before: boolean; now: boolean }, approved = 0): Guarded {
  const removals = plan.remove.length
  if (!read.before || read.now || removals <= approved) return { plan, held: 0 }
  return { plan: { ...plan, remove: [] }, held: removals }
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
export function guardResync(plan: Plan, soFar: ResyncSoFar, limits: GuardLimits, approved = 0): Guarded {
  const removals = plan.remove.length
  const removed = soFar.removed + removals
  const all = soFar.removed + soFar.memberships
  const tooMuch = removed >= limits.minRemovals && removed >= all * limits.maxShare
  if (removals === 0 || !tooMuch || removals <= approved) return { plan, held: 0 }
  return { plan: { ...plan, remove: [] }, held: removals }
}
