import { setTimeout as delay } from 'node:timers/promises'
import type { ResyncProcessor, ResyncQueue } from '../src/queue/backend.ts'
import { describeStart, parseStartResyncJob } from '../src/queue/catalogue.ts'
import type { Database } from '../db/client.ts'
import { withScheduleLock } from '../db/schedule-lock.ts'
import type { Log } from '../src/log.ts'
import { noteResyncError, type ResyncMode } from '../db/resyncs.ts'
import { readHints } from '../src/delta.ts'
import { databaseFailure } from '../src/database-failure.ts'
import type { SyncError } from '../src/errors.ts'
import { beginResync, type ResyncSource } from '../src/resync.ts'
import type { BatchSource } from '../src/sync-batch.ts'

/** Sources by slug as they are configured now; a reload replaces it. */
export type ResyncSources = () => ReadonlyMap<string, ResyncSource>

type Repeat = { pattern: string; tz: string } | { every: number }

/** A source's schedules, by the mode of the resync they begin. */
function repeatsOf({ schedule, delta }: ResyncSource['resync']): [mode: ResyncMode, repeat: Repeat][] {
  const repeats: [ResyncMode, Repeat][] = []
  if (schedule)
    repeats.push([
      'full',
      'cron' in schedule
        ? { pattern: schedule.cron, tz: schedule.timeZone }
        : { every: schedule.everySeconds * 1000 },
    ])
  if (delta) repeats.push(['delta', { every: delta.everySeconds * 1000 }])
  return repeats
}

type ScheduleQueue = Pick<ResyncQueue, 'upsertJobScheduler' | 'getJobSchedulers' | 'removeJobScheduler'>

/**
 * Makes the queue's schedules those of the configuration: changed where it was changed, and gone where the source is, or its
 * schedule is off. What is as it should be is left alone, as making it anew would meet its own next job. Any number of
 * workers may do so at once. `onlyMissing` leaves alone what differs, too: another worker may know better.
 */
export async function upsertSchedules(
  db: Database,
  queue: ScheduleQueue,
  sources: ReadonlyMap<string, ResyncSource>,
  { onlyMissing = false } = {},
): Promise<void> {
  const wanted = [...sources.values()].flatMap(({ slug, resync }) =>
    repeatsOf(resync).map(([mode, repeat]) => ({ id: `${mode} ${slug}`, slug, mode, repeat })),
  )
  await withScheduleLock(db, async () => {
    const known = await queue.getJobSchedulers()
    for (const { key } of known)
      if (!onlyMissing && !wanted.some(({ id }) => id === key)) await queue.removeJobScheduler(key)
    for (const { id, slug, mode, repeat } of wanted) {
      const found = known.find(({ key }) => key === id)
      if (found && (onlyMissing || isSame(found, repeat))) continue
      if (found) await queue.removeJobScheduler(id)
      await queue.upsertJobScheduler(id, repeat, describeStart({ source: slug, mode }))
    }
  })
}

/**
 * Has schedules made anew that the queue has lost, as a Redis does that begins without its data: nobody would ask for a
 * resync any more until a worker is started.
 */
export function keepSchedules(
  { db, queue, log }: { db: Database; queue: ScheduleQueue; log: Log },
  sources: ResyncSources,
  intervalMs: number,
): { stop: () => Promise<void> } {
  const stopping = new AbortController()
  const loop = async () => {
    for (;;) {
      await delay(intervalMs, undefined, { signal: stopping.signal }).catch(() => undefined)
      if (stopping.signal.aborted) return
      await upsertSchedules(db, queue, sources(), { onlyMissing: true }).catch((error: unknown) =>
        log.warn({ err: error }, 'schedules not looked after, will try again'),
      )
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

/** The queue may tell numbers as texts. */
function isSame(
  found: { pattern?: string | null; tz?: string | null; every?: number | string | null },
  repeat: Repeat,
): boolean {
  if ('every' in repeat) return Number(found.every) === repeat.every
  return found.pattern === repeat.pattern && found.tz === repeat.tz
}

/**
 * Begins the resync that a schedule asks for, or a notification; a second one joins the first. One of mode delta is told here what has changed;
 * where that can't be told any more, everybody is read.
 */
export function createResyncProcessor(
  { db, sources, batchSources }: ResyncStarter,
  log: Log,
): ResyncProcessor {
  return async (job, _token, signal) => {
    const { source: slug, mode, cause } = parseStartResyncJob(job.data)
    const source = sources().get(slug)
    if (!source) {
      log.warn({ source: slug }, 'a schedule of a source that this worker does not know')
      return 'unknown'
    }
    const begin = async () =>
      await beginResync(db, source, { mode, cause }).catch((thrown: unknown) => {
        throw jobErrorOf(databaseFailure(thrown))
      })
    if (mode === 'full') {
      const { resync, joined } = await begin()
      log.info({ resync: resync.id, source: slug, mode, due: resync.due, joined }, 'resync begins')
      return resync.id
    }
    const reader = batchSources.get(slug)
    const tenantId = reader?.singleTenant
    // Nothing is begun that nobody would end.
    if (!reader || tenantId === undefined) return 'no tenant'
    const { resync } = await begin()
    const about = { resyncId: resync.id, tenantId, signal }
    await takeChanges({ db, source: { ...reader, resync: source.resync }, log }, about)
    return resync.id
  }
}

/** What keeps a round from being read stands with its resync until one is. */
async function takeChanges(
  { db, source, log }: { db: Database; source: BatchSource & ResyncSource; log: Log },
  about: Parameters<typeof readHints>[2],
): Promise<void> {
  const facts = { resync: about.resyncId, source: source.slug }
  try {
    const { kind, ...counts } = await readHints(db, source, about)
    await noteResyncError(db, about.resyncId, undefined)
    log.info({ ...facts, kind, ...counts }, 'changes read')
  } catch (thrown) {
    const error = databaseFailure(thrown)
    const { code, message } = error
    log.warn({ ...facts, errorCode: code, error: message }, 'changes not read')
    await noteResyncError(db, about.resyncId, code).catch(() => undefined)
    throw jobErrorOf(error)
  }
}

/** BullMQ keeps message and stack in clear, and not the cause. */
const jobErrorOf = (error: SyncError) => new Error(`${error.code}: ${error.message}`, { cause: error })

export type ResyncStarter = {
  db: Database
  sources: ResyncSources
  batchSources: ReadonlyMap<string, BatchSource>
}
