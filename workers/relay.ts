import { setTimeout as delay } from 'node:timers/promises'
import type { Database } from '../db/client.ts'
import {
  listLostLoginEvents,
  listUnqueuedLoginEvents,
  markEnqueued,
  type StoredLoginEvent,
} from '../db/login-events.ts'
import type { Log } from '../src/log.ts'
import type { Enqueue } from '../src/queue/enqueue.ts'
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

const batch = 500

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
  const rules = { notEnqueuedAfter, notRunAfter, limit: batch, mendable, without: parts.without ?? [] }
  const stopping = new AbortController()
  const loop = async () => {
    let lookForLostAt = 0
    while (!stopping.signal.aborted) {
      try {
        const all = performance.now() >= lookForLostAt
        const events = await (all ? listLostLoginEvents : listUnqueuedLoginEvents)(parts.db, rules)
        const full = (await relay(parts, events)) && events.length === batch
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

/** True once the queue has the events. */
async function relay(
  { db, enqueue, log }: RelayParts,
  events: readonly StoredLoginEvent[],
): Promise<boolean> {
  if (events.length === 0) return true
  const jobs = events.map(({ eventId, userId, tenantId, source }) => ({
    userId,
    tenantId,
    source,
    cause: 'login' as const,
    loginEventId: eventId,
  }))
  if (!(await enqueue(jobs))) return false
  await markEnqueued(
    db,
    events.map(({ eventId }) => eventId),
  )
  log.info({ events: events.length }, 'login events relayed to the queue')
  return true
}
