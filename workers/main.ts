import type { Log } from '../src/log.ts'
import type { QueueBackend } from '../src/queue/backend.ts'
import { syncQueueName } from '../src/queue/catalogue.ts'
import { createEnqueue } from '../src/queue/enqueue.ts'
import type { ResyncSource } from '../src/resync.ts'
import type { SyncParts } from '../src/sync.ts'
import type { BatchSource } from '../src/sync-batch.ts'
import { within } from '../src/within.ts'
import type { NotificationsOptions } from './notifications.ts'
import { startResyncs, type ResyncsOptions } from './resyncs.ts'
import { relayEnqueueing, startRelay, type RelayOptions } from './relay.ts'
import { createSyncUserProcessor } from './sync-user.ts'

export type WorkersOptions = {
  /** Sync jobs at once. */
  concurrency: number
  relay?: RelayOptions
  resync?: ResyncsOptions
  notifications?: NotificationsOptions
  /** Milliseconds that running jobs get to end when stopping; default 20,000. Requests still open then are aborted and their jobs retried. */
  stopWithinMs?: number
  /** Milliseconds after which the jobs of a worker that died are another's; default 30,000. */
  lockMs?: number
}

export type Workers = {
  /** Takes over the resync settings and schedules of sources that are known; new sources need new workers. */
  reload: (sources: readonly ResyncSource[]) => Promise<void>
  /** Takes no new job, waits for the running ones, then closes; gives up waiting after the hard time-out. */
  stop: () => Promise<void>
}

/** Milliseconds that jobs get to notice that they are cut off. */
const cutOffMs = 3000

/** Starts taking jobs. `backend` must be open for `worker` use and is closed by whoever opened it. */
export async function startWorkers(
  parts: SyncParts & {
    sources: ReadonlyMap<string, BatchSource & ResyncSource>
    backend: QueueBackend
    producer: QueueBackend
    log: Log
  },
  options: WorkersOptions,
): Promise<Workers> {
  const { backend, producer, log, db } = parts
  const { concurrency, stopWithinMs = 20_000, lockMs = 30_000 } = options
  // As they are configured now: whoever looks a source up finds what the last reload has said.
  const sources = new Map(parts.sources)
  const queue = backend.openQueue(syncQueueName)
  const worker = backend.openWorker(syncQueueName, createSyncUserProcessor({ db, sources, queue }, log), {
    concurrency,
    lockDuration: lockMs,
    stalledInterval: lockMs,
    // A worker that dies more than once with the same job must not fail it: a later one runs it.
    maxStalledCount: 10,
  })
  worker.on('error', (error) => log.warn({ err: error }, 'queue connection of the worker'))
  await worker.waitUntilReady()
  const onFailure = (error: unknown) => log.warn({ err: error }, 'the queue took no jobs')
  const enqueue = createEnqueue(producer, { onFailure })
  const without = [...parts.sources.values()].filter(({ syncs }) => !syncs).map(({ slug }) => slug)
  const resyncs = await startResyncs(
    { ...parts, sources, enqueue },
    { concurrency, lockMs, notifications: options.notifications ?? {}, ...options.resync },
  )
  const relayed = createEnqueue(producer, { ...relayEnqueueing, onFailure })
  const relay = startRelay({ db, enqueue: relayed, log, without }, options.relay)
  log.info({ concurrency, queue: backend.kind }, 'worker started')
  return {
    reload: async (told) => {
      for (const { slug, resync } of told) {
        const known = sources.get(slug)
        if (known) sources.set(slug, { ...known, resync })
      }
      await resyncs.reload(told)
    },
    stop: async () => {
      const closed = Promise.all([relay.stop(), resyncs.stop(), worker.close()])
      if (!(await within(stopWithinMs, closed))) {
        log.warn(
          { ms: stopWithinMs },
          'jobs did not end in time and are cut off; the queue will run them again',
        )
        resyncs.cancelJobs('the worker is stopping')
        worker.cancelAllJobs('the worker is stopping')
        await within(cutOffMs, closed)
      }
      log.info('worker stopped')
    },
  }
}
