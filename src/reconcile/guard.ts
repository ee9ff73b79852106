import type { Plan } from './plan.ts'

/** From which removals on a plan is held; both limits must be reached. */
export type GuardLimits = {
  /** Removals. */
  minRemovals: number
  /** Share of the person's memberships that would go, from 0 to 1. */
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
