/**
 * The units one app may use in one tenant: a bucket that leaks at the limit's pace. All times are seconds of the
 * simulated clock, which may run faster than the real one.
 */
export type Bucket = {
  /** Takes units if they fit below `share` of the limit; if not, takes nothing and says how long until they would. */
  take(units: number, share: number, at: number): { taken: true } | { taken: false; seconds: number }
  /** Which part of the limit is in use, 0 to 1. */
  used(at: number): number
  /** Leaves this many units. */
  drain(left: number, at: number): void
  /** Changes the limit; units in use stay in use. */
  limit(units: number, at: number): void
  /** Units that came free, or would have had any been in use, since the first request. */
  available(at: number): number
}

/** The window that limits are given for (Graph docs: throttling-limits, identity and access). */
export const windowSeconds = 10

/** A wait told in milliseconds must be enough when it was kept. */
const rounding = 1e-6

/** Starts empty of use; `limit` is in units per window, Infinity for none. */
export function createBucket(limit: number): Bucket {
  let inUse = 0
  let passed = 0
  let asked = false
  let last: number | undefined
  const pass = (at: number): void => {
    const gained = limit === Infinity ? 0 : ((at - (last ?? at)) / windowSeconds) * limit
    inUse = limit === Infinity ? 0 : Math.max(0, inUse - gained)
    if (asked) passed += gained
    last = at
  }
  return {
    take(units, share, at) {
      pass(at)
      asked = true
      const excess = inUse + units - limit * share
      if (excess > rounding) return { taken: false, seconds: (excess / limit) * windowSeconds }
      inUse += units
      return { taken: true }
    },
    used(at) {
      pass(at)
      return Math.min(1, inUse / limit)
    },
    drain(left, at) {
      pass(at)
      inUse = limit === Infinity ? 0 : Math.max(0, limit - left)
    },
    limit(units, at) {
      pass(at)
      limit = units
    },
    available(at) {
      if (asked) pass(at)
      return passed
    },
  }
}
