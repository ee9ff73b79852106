import type { Log } from '../src/log.ts'
import type { QueueBackend } from '../src/queue/backend.ts'
import { createBatchEnqueue, createStartEnqueue, type Enqueue } from '../src/queue/enqueue.ts'
import type { ResyncSource } from '../src/resync.ts'
import type { BatchParts, BatchSource } from '../src/sync-batch.ts'
import { startNotifications, type NotificationsOptions } from './notifications.ts'
import { startResyncRunner, type ResyncRunnerOptions } from './resync.ts'
import { createResyncProcessor, keepSchedules, upsertSchedules } from './schedules.ts'
import { createSyncBatchProcessor } from './sync-batch.ts'

export type ResyncsParts = BatchParts & {
  sources: ReadonlyMap<string, BatchSource & ResyncSource>
  backend: QueueBackend
  producer: QueueBackend
  enqueue: Enqueue
  log: Log
}

export type Resyncs = {
  /** Takes over the resync settings and schedules of sources that are known; new sources need new workers. */
  reload: (sources: readonly ResyncSource[]) => Promise<void>
  /** Has batches that are under way end. */
  cancelJobs: (reason: string) => void
  stop: () => Promise<void>
}

export type ResyncsOptions = ResyncRunnerOptions & {
  /** Milliseconds between two looks for schedules that the queue has lost; default 600,000. */
  schedulesMs?: number
}

/** A batch holds a slot for as long as a few single runs do. */
const peoplePerSlot = 5

/** All that a worker does for resyncs: their schedules, notifications of changes, the steps of those that go on, and batches of people. */
export async function startResyncs(
  parts: ResyncsParts,
  {
    concurrency,
    lockMs,
    notifications: noted,
    ...options
  }: ResyncsOptions & { concurrency: number; lockMs: number; notifications: NotificationsOptions },
): Promise<Resyncs> {
  const { db, backend, producer, enqueue, log } = parts
  let sources: ReadonlyMap<string, ResyncSource> = new Map(
    [...parts.sources].filter(([, { syncs }]) => syncs),
  )
  const schedules = backend.openResyncQueue()
  await upsertSchedules(db, schedules, sources)
  const kept = keepSchedules({ db, queue: schedules, log }, () => sources, options.schedulesMs ?? 600_000)
  const starting = { db, sources: () => sources, batchSources: parts.sources }
  const starter = backend.openResyncWorker(createResyncProcessor(starting, log))
  starter.on('error', (error) => log.warn({ err: error }, 'queue connection of the schedules'))
  const batches = backend.openBatchWorker(createSyncBatchProcessor(parts, log), {
    concurrency: Math.max(1, Math.ceil(concurrency / peoplePerSlot)),
    lockDuration: lockMs,
    stalledInterval: lockMs,
    maxStalledCount: 10,
  })
  batches.on('error', (error) => log.warn({ err: error }, 'queue connection of the batches'))
  const enqueueBatches = createBatchEnqueue(producer, {
    onFailure: (error) => log.warn({ err: error }, 'the queue took no batches'),
  })
  const runner = startResyncRunner({ db, enqueue, enqueueBatches, log, sources: () => sources }, options)
  const enqueueStart = createStartEnqueue(producer, {
    onFailure: (error) => log.warn({ err: error }, 'the queue took no resync; it is told again'),
  })
  const notifications = startNotifications(
    { db, log, sources: () => sources, batchSources: parts.sources, enqueueStart },
    noted,
  )
  return {
    reload: async (told) => {
      const bySlug = new Map(told.map((source) => [source.slug, source]))
      sources = new Map(
        [...sources.keys()].flatMap((slug) => {
          const source = bySlug.get(slug)
          return source ? [[slug, source] as const] : []
        }),
      )
      await upsertSchedules(db, schedules, sources)
      notifications.reload()
      log.info({ sources: [...sources.keys()] }, 'resync settings reloaded')
    },
    cancelJobs: (reason) => batches.cancelAllJobs(reason),
    stop: async () => {
      await Promise.all([kept.stop(), notifications.stop(), runner.stop(), starter.close(), batches.close()])
    },
  }
}
