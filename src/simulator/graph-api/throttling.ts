import { createBucket, windowSeconds, type Bucket } from './bucket.ts'
import { throttled } from './errors.ts'

/** Units per 10 seconds that an app has in a tenant (Graph docs: throttling-limits, identity and access). */
const limits = { S: 3500, M: 5000, L: 8000 } as const

/** How a 429 says when to come again. */
export type RetryAfterStyle = 'seconds' | 'fraction' | 'date' | 'absent' | 'one'

export type ThrottleSettings = {
  /**
   * The tenant's size: 3,500, 5,000 or 8,000 units per 10 seconds for each app. A number is a limit of its own, for
   * tests that must reach it in few requests. Default unlimited: costs are counted and nothing is refused.
   */
  size?: 'S' | 'M' | 'L' | 'unlimited' | number
  /**
   * Simulated seconds per second of the simulator's clock, default 1. With 10, an S tenant frees 3,500 units each
   * second, and a wait of 5 simulated seconds is told as `Retry-After: 0.5`: what is waited is always real time.
   */
  timeScale?: number
  /**
   * `seconds` (the default): whole simulated seconds, at least one, then scaled, so that a scaled value may have a
   * fraction. `fraction`: to the millisecond, not rounded up first. `date`: an HTTP date, rounded up to the next whole
   * real second, which is as fine as dates are. `one`: "1", whatever the truth.
   */
  retryAfter?: RetryAfterStyle
  /** The status of a batch in which an inner request was throttled: 424 in older docs. Default 200. */
  batchEnvelope?: 200 | 424
}

export type ThrottleStatistics = {
  /** Answers to requests with a good token; inner ones of a batch count, their envelope does not. */
  answers: number
  /** Those of them that the limit refused. 429s made up by a fault are in neither number. */
  throttled: number
  /** What the answers that were let in cost. */
  units: number
  /** Units the limit freed since each app's first request; what a full bucket held at that moment not included. */
  available: number
}

export type Throttle = {
  /** Changes what is given from the next request on; what is left out stays, units in use stay in use. */
  set(settings: ThrottleSettings): void
  statistics(): ThrottleStatistics
  /** Leaves each app this many units, default none, so that the next requests are throttled. */
  drain(left?: number): void
  /** Gives all units back and counts from zero; settings stay. */
  reset(): void
}

export type Throttling = Throttle & {
  /** Charges one request, and throws the 429 when it doesn't fit; otherwise what its answer's headers tell. */
  admit(appId: string, units: number, priority: string | undefined): Readonly<Record<string, string>>
  batchEnvelope(): 200 | 424
  /** As it was at the start. */
  restart(): void
}

/**
 * A request of low priority must leave this part of the limit free. Graph says only that low is refused before normal
 * and high; that these two are alike, and how early low is refused, is the simulator's own rule.
 */
const keptFromLow = 0.1
/** Answers tell how much is used from here on, and up to here (Graph docs: throttling-limits). */
const told = { from: 0.8, to: 1.8 }

/** Throttling by resource units, one bucket for each app: the tenant is always the same. */
export function createThrottling(options: {
  tenantId: string
  appIds: readonly string[]
  now: () => number
  settings: ThrottleSettings | undefined
}): Throttling {
  const { tenantId, now } = options
  const initial = { size: 'unlimited', timeScale: 1, retryAfter: 'seconds', batchEnvelope: 200 } as const
  let settings: Required<ThrottleSettings> = { ...initial, ...options.settings }
  let buckets = new Map<string, Bucket>()
  let refusals = createRefusals()
  let counted = { answers: 0, throttled: 0, units: 0 }
  // Simulated seconds go on from where they were when the scale changes.
  let clock = { real: now(), simulated: 0 }
  const seconds = (): number => clock.simulated + ((now() - clock.real) / 1000) * settings.timeScale
  const bucketOf = (appId: string): Bucket => {
    const bucket = buckets.get(appId) ?? createBucket(limitOf(settings.size))
    buckets.set(appId, bucket)
    return bucket
  }
  const set = (changes: ThrottleSettings): void => {
    const at = seconds()
    clock = { real: now(), simulated: at }
    settings = { ...settings, ...changes }
    for (const bucket of buckets.values()) bucket.limit(limitOf(settings.size), at)
  }
  const reset = (): void => {
    buckets = new Map()
    refusals = createRefusals()
    counted = { answers: 0, throttled: 0, units: 0 }
  }
  return {
    set,
    reset,
    statistics: () => ({
      ...counted,
      available: [...buckets.values()].reduce((sum, bucket) => sum + bucket.available(seconds()), 0),
    }),
    drain(left = 0) {
      for (const appId of options.appIds) bucketOf(appId).drain(left, seconds())
    },
    admit(appId, units, priority) {
      const at = seconds()
      const bucket = bucketOf(appId)
      const result = bucket.take(units, priority?.toLowerCase() === 'low' ? 1 - keptFromLow : 1, at)
      refusals.count(at, !result.taken)
      counted.answers += 1
      const usage = usageHeader(result.taken ? bucket.used(at) : 1, refusals.share())
      if (result.taken) {
        counted.units += units
        return usage
      }
      counted.throttled += 1
      const value = retryAfter[settings.retryAfter](result.seconds, settings.timeScale, now())
      const wait: Record<string, string> = value === undefined ? {} : { 'retry-after': value }
      throw throttled({ ...usage, ...wait, ...scopeHeaders(appId, tenantId) })
    },
    batchEnvelope: () => settings.batchEnvelope,
    restart() {
      reset()
      set({ ...initial, ...options.settings })
    },
  }
}

function limitOf(size: Required<ThrottleSettings>['size']): number {
  if (size === 'unlimited') return Infinity
  return typeof size === 'number' ? size : limits[size]
}

/** 1.2 says that 20 % of requests are throttled (Graph docs: throttling-limits, regular responses). */
function usageHeader(used: number, refused: number): Readonly<Record<string, string>> {
  if (used < told.from) return {}
  return { 'x-ms-throttle-limit-percentage': String(Number(Math.min(told.to, used + refused).toFixed(3))) }
}

function scopeHeaders(appId: string, tenantId: string): Readonly<Record<string, string>> {
  return {
    'x-ms-throttle-scope': `Tenant_Application/ReadWrite/${appId}/${tenantId}`,
    'x-ms-throttle-information': 'ResourceUnitLimitExceeded',
  }
}

type Wait = (simulated: number, timeScale: number, now: number) => string | undefined

const retryAfter: Readonly<Record<RetryAfterStyle, Wait>> = {
  seconds: (simulated, timeScale) => String(milliseconds(wholeSeconds(simulated) / timeScale)),
  fraction: (simulated, timeScale) => milliseconds(simulated / timeScale).toFixed(3),
  date: (simulated, timeScale, now) =>
    new Date(Math.ceil(now / 1000 + wholeSeconds(simulated) / timeScale) * 1000).toUTCString(),
  absent: () => undefined,
  one: () => '1',
}

function wholeSeconds(seconds: number): number {
  return Math.max(1, Math.ceil(seconds))
}

/** Rounded up, and never no wait at all. */
function milliseconds(seconds: number): number {
  return Math.max(1, Math.ceil(seconds * 1000 - 1e-6)) / 1000
}

/** Which share of requests was refused in the present window and the one before it. */
function createRefusals(): { count(at: number, refused: boolean): void; share(): number } {
  let number = 0
  let present = { asked: 0, refused: 0 }
  let before = { asked: 0, refused: 0 }
  return {
    count(at, refused) {
      const current = Math.floor(at / windowSeconds)
      if (current !== number) {
        before = current === number + 1 ? present : { asked: 0, refused: 0 }
        present = { asked: 0, refused: 0 }
        number = current
      }
      present.asked += 1
      if (refused) present.refused += 1
    },
    share: () => (before.refused + present.refused) / Math.max(1, before.asked + present.asked),
  }
}
