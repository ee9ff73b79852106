import { once } from 'node:events'
import { setTimeout as delay } from 'node:timers/promises'
import type { Database } from '../db/client.ts'
import {
  listLostLoginEvents,
  listUnqueuedLoginEvents,
  markEnqueued,
  type LostLoginEvent,
} from '../db/login-events.ts'
import type { Log } from '../src/log.ts'
import type { SyncUserJob } from '../src/queue/catalogue.ts'
import type { Enqueue, EnqueueOptions } from '../src/queue/enqueue.ts'
import { decisions } from './outcome.ts'

export type RelayOptions = {
  /** Milliseconds between two looks for events the queue never took; default 2,000. */
  intervalMs?: number
  /**
   * Milliseconds between two looks for events it took and lost, which are dearer; default 60,000. Up to half as long again,
   * so that workers which start together don't look together.
   */
  lostIntervalMs?: number
  /** Seconds after which a stored event counts as not enqueued; default 5. */
  notEnqueuedAfter?: number
  /** Seconds after which an enqueued event without a run, or with failed ones only, is brought back; default 900. */
  notRunAfter?: number
}

export type RelayParts = {
  db: Database
  enqueue: Enqueue
  log: Log
  /** Slugs of sources without group sync: their events are no work. */
  without?: readonly string[]
}

export type Relay = { stop: () => Promise<void> }

/**
 * How the relay asks the queue. Nobody waits for it, so it has the time that a distant or busy queue needs; and it comes
 * back in its own time after a failure.
 */
export const relayEnqueueing = { timeoutMs: 30_000, pauseMs: 0 } satisfies EnqueueOptions

/** Events of one look, which is dear, and of one call of the queue, whose time is bounded. */
const lookSize = 500
const mostAtOnce = 100

/** Milliseconds that a queue gets to answer when the relay is to stop; what it takes after that is handed over twice. */
const stopWithinMs = 1000

/**
 * What a retry may mend, a relayed event may. So it is with a tenant that was throttled for an hour, and with a source that
 * gateways know before this worker's successor does.
 */
const mendable = Object.entries(decisions).flatMap(([code, decision]) =>
  decision === 'fail' && code !== 'throttled_too_long' && code !== 'source_unknown' ? [] : [code],
)

/**
 * Enqueues the login events that the queue doesn't have: it was out of reach when they came, the producer died in
 * between, the queue lost them, or Graph was down for longer than a job's attempts. Any number of workers may run one, since enqueueing twice is harmless.
 */
export function startRelay(parts: RelayParts, options: RelayOptions = {}): Relay {
  const { intervalMs = 2000, lostIntervalMs = 60_000, notEnqueuedAfter = 5, notRunAfter = 900 } = options
  const rules = { notEnqueuedAfter, notRunAfter, limit: lookSize, mendable, without: parts.without ?? [] }
  const stopping = new AbortController()
  const stopped = once(stopping.signal, 'abort').then(() => delay(stopWithinMs, false, { ref: false }))
  const hand = createHandOver(parts, (answer) => Promise.race([answer, stopped]))
  const loop = async () => {
    let lookForLostAt = 0
    while (!stopping.signal.aborted) {
      try {
        const all = performance.now() >= lookForLostAt
        const events = await (all ? listLostLoginEvents : listUnqueuedLoginEvents)(parts.db, rules)
        const full = (await hand(events, stopping.signal)) && events.length === lookSize
        if (all && !full) lookForLostAt = performance.now() + lostIntervalMs * (1 + Math.random() / 2)
        if (full) continue
      } catch (error) {
        parts.log.warn({ err: error }, 'relay of login events failed, will try again')
      }
      await delay(intervalMs, undefined, { signal: stopping.signal }).catch(() => undefined)
    }
  }
  const running = loop()
  return {
    stop: async () => {
      stopping.abort()
      await running
    },
  }
}

/**
 * Resolves true once the queue has all of the events, false as soon as it didn't take some. What it took is marked at once,
 * and what it didn't take comes in smaller parts next time, so that a slow queue is never asked for more than it can do.
 */
function createHandOver(
  { db, enqueue, log }: RelayParts,
  bounded: (answer: Promise<boolean>) => Promise<boolean>,
): (events: readonly LostLoginEvent[], signal: AbortSignal) => Promise<boolean> {
  let atOnce = mostAtOnce
  return async (events, signal) => {
    let begin = 0
    while (begin < events.length) {
      const part = events.slice(begin, begin + atOnce)
      const jobs = part.filter(({ isSuperseded }) => !isSuperseded).map(jobOf)
      if (signal.aborted) return false
      if (jobs.length > 0 && !(await bounded(enqueue(jobs)))) {
        atOnce = Math.max(1, Math.floor(part.length / 2))
        return false
      }
      await markEnqueued(
        db,
        part.map(({ eventId }) => eventId),
      )
      log.info({ events: part.length }, 'login events relayed to the queue')
      atOnce = Math.min(mostAtOnce, atOnce * 2)
      begin += part.length
    }
    return true
  }
}

const jobOf = ({ eventId, userId, tenantId, source }: LostLoginEvent): SyncUserJob => ({
  userId,
  tenantId,
  source,
  cause: 'login',
  loginEventId: eventId,
})
