import {
  createRedisBackend,
  Queue,
  QueueEvents,
  Worker,
  type BackendFactory,
  type IQueueBackend,
  type Processor,
  type WorkerOptions,
} from 'bullmq'
import {
  batchQueueName,
  resyncQueueName,
  type StartResyncJob,
  type SyncBatchJob,
  type SyncUserJob,
} from './catalogue.ts'
import { within } from '../within.ts'
import { connectOver, migrateQueue, openQueuePool } from './postgres.ts'
import { checkRedis, openRedis, type ConnectionUse } from './redis.ts'

/** What a finished sync job returns: enough for a waiting sign-in to see that it was meant. */
export type SyncUserResult = { userId: string; runId: string; outcome: string; startedAt: string }

/** Connections are made by {@link QueueBackend}, so BullMQ is handed this word where it asks for one. */
type Connection = 'opened by the backend'

export type SyncQueue = Queue<
  SyncUserJob,
  SyncUserResult,
  string,
  SyncUserJob,
  SyncUserResult,
  string,
  IQueueBackend,
  Connection
>
export type SyncWorker = Worker<SyncUserJob, SyncUserResult, string, IQueueBackend, number, Connection>
/** Jobs of many people at once. */
export type BatchQueue = Queue<
  SyncBatchJob,
  Record<string, number>,
  string,
  SyncBatchJob,
  Record<string, number>,
  string,
  IQueueBackend,
  Connection
>
export type BatchWorker = Worker<
  SyncBatchJob,
  Record<string, number>,
  string,
  IQueueBackend,
  number,
  Connection
>
export type BatchProcessor = Processor<SyncBatchJob, Record<string, number>, string, number>

/** Where schedules are kept, and the jobs they make. */
export type ResyncQueue = Queue<
  StartResyncJob,
  string,
  string,
  StartResyncJob,
  string,
  string,
  IQueueBackend,
  Connection
>
export type ResyncWorker = Worker<StartResyncJob, string, string, IQueueBackend, number, Connection>
export type ResyncProcessor = Processor<StartResyncJob, string, string, number>
export type SyncQueueEvents = QueueEvents<SyncUserResult, IQueueBackend, Connection>
export type SyncProcessor = Processor<SyncUserJob, SyncUserResult, string, number>
export type SyncWorkerOptions = Pick<
  WorkerOptions,
  'concurrency' | 'lockDuration' | 'stalledInterval' | 'maxStalledCount' | 'autorun' | 'settings'
>

export type QueueBackendOptions = {
  /** `redis:`, `rediss:` or `postgres:`. */
  url: string
  use: ConnectionUse
  /** Start of every Redis key; braces keep a queue on one node of a cluster. */
  prefix?: string
  /** Connections of the Postgres pool; each worker and each listener holds one of them for good. */
  maxConnections?: number
}

/** BullMQ on Redis or on Postgres behind one face. Closing it closes what it opened, last first. */
export type QueueBackend = {
  kind: 'redis' | 'postgres'
  openQueue: (name: string) => SyncQueue
  openWorker: (name: string, processor: SyncProcessor, options: SyncWorkerOptions) => SyncWorker
  openEvents: (name: string) => SyncQueueEvents
  openBatchQueue: () => BatchQueue
  openBatchWorker: (processor: BatchProcessor, options: SyncWorkerOptions) => BatchWorker
  openResyncQueue: () => ResyncQueue
  openResyncWorker: (processor: ResyncProcessor) => ResyncWorker
  /** Refuses a Redis that may evict keys or doesn't let us in; brings BullMQ's Postgres schema up to date. */
  prepare: (options?: { allowEviction?: boolean; signal?: AbortSignal }) => Promise<void>
  /** Code of the last error of the connection, which goes on connecting; undefined where there was none. */
  lastFailure: () => string | undefined
  /** Closes what was opened here and is of no use any more, and forgets it. Waits for no store that is down. */
  discard: (one: Closable) => void
  close: () => Promise<void>
}

const defaultPrefix = '{entra-group-sync}'

const closeWithinMs = 2000

const connection: Connection = 'opened by the backend'

/**
 * A producer waits up to a second for Redis, which goes on connecting in the background; a worker connects on first use.
 */
export async function openQueueBackend(options: QueueBackendOptions): Promise<QueueBackend> {
  const store = /^rediss?:/.test(options.url)
    ? await openRedisStore(options)
    : await openPostgresStore(options)
  const prefix = options.prefix ?? defaultPrefix
  const opened = new Set<Closable>()
  const keep = <Opened extends Closable & { on: (event: 'error', listener: () => void) => unknown }>(
    one: Opened,
  ) => {
    // Lost connections are retried by BullMQ; unheard, the event would end the process. Who calls sees its own error.
    one.on('error', () => undefined)
    opened.add(one)
    return one
  }
  return {
    kind: store.kind,
    openQueue: (name) =>
      keep(
        new Queue(
          name,
          { connection, prefix, skipWaitingForReady: options.use === 'producer' },
          store.connect,
        ),
      ),
    openWorker: (name, processor, workerOptions) =>
      keep(new Worker(name, processor, { ...workerOptions, connection, prefix }, store.connect)),
    openBatchQueue: () =>
      keep(
        new Queue(
          batchQueueName,
          { connection, prefix, skipWaitingForReady: options.use === 'producer' },
          store.connect,
        ),
      ),
    openBatchWorker: (processor, workerOptions) =>
      keep(new Worker(batchQueueName, processor, { ...workerOptions, connection, prefix }, store.connect)),
    openResyncQueue: () => keep(new Queue(resyncQueueName, { connection, prefix }, store.connect)),
    openResyncWorker: (processor) =>
      keep(new Worker(resyncQueueName, processor, { connection, prefix }, store.connect)),
    openEvents: (name) => keep(new QueueEvents(name, { connection, prefix }, store.connect)),
    prepare: store.prepare,
    lastFailure: store.lastFailure,
    discard: (one) => {
      opened.delete(one)
      void one.close().catch(() => undefined)
    },
    close: async () => {
      const last = [...opened].toReversed()
      opened.clear()
      for (const one of last) await closeOrCut(one)
      await store.close()
    },
  }
}

export type Closable = { close: () => Promise<void>; disconnect: () => Promise<void> }

/** Closing says goodbye to the store, which never ends while that is down: then the connection is cut. */
async function closeOrCut(one: Closable): Promise<void> {
  const closed = one.close()
  if (await within(closeWithinMs, closed)) return
  await within(closeWithinMs, one.disconnect())
}

type Store = Pick<QueueBackend, 'kind' | 'prepare' | 'lastFailure' | 'close'> & {
  connect: BackendFactory<IQueueBackend, Connection>
}

async function openRedisStore({ url, use }: QueueBackendOptions): Promise<Store> {
  let failure: string | undefined
  const redis = openRedis(url, use, (code) => (failure = code))
  // A producer's commands fail while it isn't connected; this gives the first connection its chance.
  if (use === 'producer') await within(1000, redis.connect())
  return {
    kind: 'redis',
    connect: (name, opts, how) => createRedisBackend(name, { ...opts, connection: redis }, how),
    prepare: ({ allowEviction = false } = {}) => checkRedis(redis, allowEviction),
    lastFailure: () => failure,
    close: async () => redis.disconnect(),
  }
}

async function openPostgresStore({ url, use, maxConnections = 10 }: QueueBackendOptions): Promise<Store> {
  const pool = await openQueuePool(url, use, maxConnections)
  return {
    kind: 'postgres',
    connect: (name, opts, how) => connectOver(pool, name, { ...opts, connection: pool }, how),
    prepare: ({ signal } = {}) => migrateQueue(url, signal),
    lastFailure: () => undefined,
    close: () => pool.end(),
  }
}
