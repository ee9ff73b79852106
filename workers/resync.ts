import { setTimeout as delay } from 'node:timers/promises'
import { failForsakenResyncs, listRunningResyncs } from '../db/resyncs.ts'
import type { Log } from '../src/log.ts'
import { advanceResync, type ResyncParts, type ResyncSource } from '../src/resync.ts'

export type ResyncRunnerOptions = {
  /** Milliseconds between two steps of a resync; default 1,000. */
  intervalMs?: number
  /** Seconds without a worker that knows its source after which a resync has failed; default 600. */
  forsakenSeconds?: number
}

export type ResyncRunner = { stop: () => Promise<void> }

/**
 * Carries on whatever resync goes on, step by step. Every worker does, and a step is one worker's at a time: so a resync
 * outlives any of them.
 */
export function startResyncRunner(
  parts: ResyncParts & { log: Log; sources: () => ReadonlyMap<string, ResyncSource> },
  { intervalMs = 1000, forsakenSeconds = 600 }: ResyncRunnerOptions = {},
): ResyncRunner {
  const { db, log } = parts
  const stopping = new AbortController()
  const stepAll = async () => {
    const sources = parts.sources()
    const slugs = [...sources.keys()]
    for (const { id, source: slug } of await listRunningResyncs(db, slugs)) {
      const source = sources.get(slug)
      if (stopping.signal.aborted) return
      if (source) await step(source, id)
    }
    for (const id of await failForsakenResyncs(db, slugs, forsakenSeconds))
      log.error({ resync: id, errorCode: 'source_unknown' }, 'resync failed: no worker knows its source')
  }
  const step = async (source: ResyncSource, id: string) => {
    const stepped = await advanceResync(parts, source, id)
    if (!stepped?.ended) return
    const { source: slug, mode, state, due, done, changed, held, failed, needsLogin, denied } = stepped
    const counts = { due, done, changed, held, failed, needsLogin, denied }
    log[state === 'held' ? 'warn' : 'info'](
      { resync: id, source: slug, mode, state, ...counts },
      'resync ended',
    )
  }
  const loop = async () => {
    while (!stopping.signal.aborted) {
      await stepAll().catch((error: unknown) =>
        log.warn({ err: error }, 'a step of a resync failed, will try again'),
      )
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
