import { setTimeout as delay } from 'node:timers/promises'
import type { Database } from '../db/client.ts'
import { listLostLoginEvents, markEnqueued, type LostEventRules } from '../db/login-events.ts'
import type { Log } from '../src/log.ts'
import type { Enqueue } from '../src/queue/enqueue.ts'
import { decisions } from './outcome.ts'

export type RelayOptions = {
  /** Milliseconds between two looks; default 2,000. */
  intervalMs?: number
  /** Seconds after which a stored event counts as not enqueued; default 5. */
  notEnqueuedAfter?: number
  /** Seconds after which an enqueued event without a run, or with failed ones only, is brought back; default 900. */
  notRunAfter?: number
}

export type Relay = { stop: () => Promise<void> }

const batch = 500

/** What a retry may mend, a relayed event may; and a tenant that was throttled for an hour may be better by then. */
const mendable = Object.entries(decisions).flatMap(([code, decision]) =>
  decision === 'fail' && code !== 'throttled_too_long' ? [] : [code],
)

/**
 * Enqueues the login events that the queue doesn't have: it was out of reach when they came, the producer died in
 * between, the queue lost them, or Graph was down for longer than a job's attempts. Any number of workers may run one, since enqueueing twice is harmless.
 */
export function startRelay(
  parts: { db: Database; enqueue: Enqueue; log: Log },
  options: RelayOptions = {},
): Relay {
  const { intervalMs = 2000, notEnqueuedAfter = 5, notRunAfter = 900 } = options
  const stopping = new AbortController()
  const loop = async () => {
    while (!stopping.signal.aborted) {
      try {
        const full = await relayOnce(parts, { notEnqueuedAfter, notRunAfter, limit: batch, mendable })
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

/** True if there may be more at once. */
async function relayOnce(
  { db, enqueue, log }: { db: Database; enqueue: Enqueue; log: Log },
  rules: LostEventRules,
): Promise<boolean> {
  const events = await listLostLoginEvents(db, rules)
  if (events.length === 0) return false
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
  return events.length === rules.limit
}
