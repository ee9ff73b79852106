import { setTimeout as delay } from 'node:timers/promises'
import { settleChange, takeChange } from '../db/change-notices.ts'
import type { Database } from '../db/client.ts'
import {
  dropForsakenSubscriptions,
  listSubscriptions,
  noteSubscriptionError,
  type StoredSubscription,
  type SubscriptionRhythm,
} from '../db/subscriptions.ts'
import { AccessDenied, Throttled, toSyncError, type SyncError } from '../src/errors.ts'
import type { Log } from '../src/log.ts'
import type { StartResyncJob } from '../src/queue/catalogue.ts'
import type { ResyncSource } from '../src/resync.ts'
import { defaultRhythm, differs, tendSubscription, type WantedSubscription } from '../src/subscription.ts'
import type { BatchSource } from '../src/sync-batch.ts'

export type NotificationsOptions = {
  /** Where the gateway is reached; without https nobody is asked to tell of anything. */
  publicUrl?: string | undefined
  /** Milliseconds between two looks; default 1,000. */
  intervalMs?: number
  /** Seconds without a worker that knows its source after which what is stored of a subscription goes; default 600. */
  forsakenSeconds?: number
  rhythm?: Partial<SubscriptionRhythm>
}

export type NotificationsParts = {
  db: Database
  log: Log
  /** Those that are kept in step, by slug, as they are configured now. */
  sources: () => ReadonlyMap<string, ResyncSource>
  /** All that this worker has known since it began. */
  batchSources: ReadonlyMap<string, BatchSource>
  /** Begins a resync; false where the queue didn't take it. */
  enqueueStart: (job: StartResyncJob) => Promise<boolean>
}

export type Notifications = {
  /** What is configured now counts at once. */
  reload: () => void
  stop: () => Promise<void>
}

/** Milliseconds from one change of a subscription to the next, where workers are configured differently for a while. */
const changeEveryMs = 600_000

/**
 * Sees to it that Graph tells of changes, and that somebody asks about those it has told of. Every worker does; one at a time
 * is at a source's subscription, and one asks.
 */
export function startNotifications(
  parts: NotificationsParts,
  { publicUrl, intervalMs = 1000, forsakenSeconds = 600, ...options }: NotificationsOptions = {},
): Notifications {
  const rhythm = { ...defaultRhythm, ...options.rhythm }
  const { db, log } = parts
  const stopping = new AbortController()
  const changedAt = new Map<string, number>()
  let lookForForsakenAt = 0
  const look = async () => {
    const stored = new Map((await listSubscriptions(db, rhythm)).map((each) => [each.source, each]))
    for (const source of parts.batchSources.values()) {
      if (stopping.signal.aborted) return
      const row = stored.get(source.slug)
      if (row?.isToAsk && parts.sources().has(source.slug)) await askAbout(parts, source.slug, rhythm)
      if (publicUrl?.startsWith('https:')) await tend(source, row, publicUrl)
    }
    if (performance.now() < lookForForsakenAt) return
    lookForForsakenAt = performance.now() + forsakenSeconds * 100
    for (const source of await dropForsakenSubscriptions(db, [...parts.batchSources.keys()], forsakenSeconds))
      log.warn({ source }, 'subscription forgotten: no worker knows its source; Graph ends it within a month')
  }
  const tend = async (source: BatchSource, row: StoredSubscription | undefined, url: string) => {
    const { slug } = source
    const wanted = wantedOf(parts, source, url)
    const isOther = wanted ? row !== undefined && differs(row, wanted) : row !== undefined
    const isDue = wanted !== undefined && !isOther && (row === undefined || row.due !== null)
    const mayChange = performance.now() >= (changedAt.get(slug) ?? -Infinity) + changeEveryMs
    if (!isDue && !(isOther && row?.mayTry && mayChange)) return
    try {
      const tended = await tendSubscription(db, source, wanted, { rhythm, signal: stopping.signal })
      if (isOther) changedAt.set(slug, performance.now())
      if (tended) log[tended === 'left' ? 'warn' : 'info']({ source: slug, tended }, 'subscription tended')
    } catch (thrown) {
      if (!stopping.signal.aborted) await noteFailure(parts, slug, toSyncError(thrown))
    }
  }
  const loop = async () => {
    while (!stopping.signal.aborted) {
      await look().catch((error: unknown) =>
        log.warn({ err: error }, 'a look at the subscriptions failed, will try again'),
      )
      await delay(intervalMs, undefined, { signal: stopping.signal }).catch(() => undefined)
    }
  }
  const running = loop()
  return {
    reload: () => changedAt.clear(),
    stop: async () => {
      stopping.abort()
      await running
    },
  }
}

function wantedOf(
  { sources }: NotificationsParts,
  { slug, singleTenant: tenantId }: BatchSource,
  publicUrl: string,
): WantedSubscription | undefined {
  if (!sources().get(slug)?.resync.notifications || tenantId === undefined) return undefined
  return { tenantId, url: `${publicUrl}/v1/notifications/${slug}` }
}

/** A round of changes is the proof of what a notification says, and finds what others would have said as well. */
async function askAbout(
  { db, log, enqueueStart }: NotificationsParts,
  source: string,
  rhythm: SubscriptionRhythm,
): Promise<void> {
  const taken = await takeChange(db, source, rhythm.askEvery)
  if (!taken || !(await enqueueStart({ source, mode: 'delta', cause: 'notified' }))) return
  await settleChange(db, source, taken.askedAt)
  log.debug({ source }, 'changes told, and asked about')
}

/** Told once: what stays wrong is wrong for hours. A permission takes an administrator; the rest may mend itself. */
async function noteFailure({ db, log }: NotificationsParts, source: string, error: SyncError): Promise<void> {
  const retrySeconds = (failures: number) => {
    if (error instanceof AccessDenied) return 3600
    return error instanceof Throttled
      ? error.retryAfterMs / 1000
      : Math.min(3600, 30 * 2 ** Math.min(failures, 7))
  }
  const { code, message, requestId } = error
  const before = await noteSubscriptionError(db, source, { errorCode: code, retrySeconds })
  log[before === code ? 'debug' : 'warn'](
    { source, errorCode: code, error: message, requestId },
    'Graph does not tell of changes; they are asked about by schedule',
  )
}
