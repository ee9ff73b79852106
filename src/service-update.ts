import type { StoredService } from '../db/services.ts'
import { databaseFailure } from './database-failure.ts'
import { AccessDenied, SyncError, type ErrorCode } from './errors.ts'
import type { Log } from './log.ts'
import type { ReadService } from './read-service.ts'
import { digestOf } from './reconcile/digest.ts'
import { createLimit, createSharedWork, type SharedWork } from './shared-work.ts'
import type { Snapshot } from './snapshot.ts'
import { unlessAborted } from './unless-aborted.ts'
import { within } from './within.ts'

/** Seconds for which a service's groups are good before Graph is asked again. */
const goodForSeconds = 300
/** Milliseconds for which nobody asks Graph about a service again: what Postgres fails at will soon be good. */
const restMs = { graph: 60_000, database: 5000 }
/** Milliseconds that an exchange waits for Graph where an earlier answer is stored, and where none is. */
const graphWaitMs = { stored: 2000, first: 10_000 }
/** Milliseconds that it waits for its service to be written, all in all. */
const writeWaitMs = 5000
/** Exchanges leave most connections to sign-ins, whatever they wait for. */
const maxWrites = 4

/** What a process knows of the services that are being brought up to date. */
export type UnderWay = {
  reads: SharedWork
  writes: SharedWork
  limit: ReturnType<typeof createLimit>
}

export function createUnderWay(): UnderWay {
  return {
    reads: createSharedWork({
      restMsAfter: (error) =>
        databaseFailure(error).code === 'database_failed' ? restMs.database : restMs.graph,
    }),
    writes: createSharedWork({ restMsAfter: () => 0 }),
    limit: createLimit(maxWrites),
  }
}

/** One exchange's service as it was found, and how it is looked at again. */
export type ServiceUpdate = {
  first: StoredService
  look: () => Promise<StoredService | undefined>
}

/**
 * Asks Graph, unless it was asked lately. What is stored answers where Graph doesn't, or not soon: what it says later is
 * applied all the same.
 */
export async function readAnew(
  { reads, limit }: UnderWay,
  { first, look }: ServiceUpdate,
  {
    slug,
    log,
    read,
    apply,
  }: {
    slug: string
    log: Log
    read: (beganAt: string) => ReturnType<ReadService>
    apply: (snapshot: Snapshot) => Promise<unknown>
  },
): Promise<void> {
  if (isFresh(first)) return
  const reading = reads.join(first.userId, async () => {
    try {
      // Another read may have ended after this exchange had looked.
      const service = await look()
      if (!service || isFresh(service)) return
      const snapshot = await read(service.now)
      await limit(() => apply(snapshot))
    } catch (thrown) {
      const error = databaseFailure(thrown)
      const { code, requestId } = error
      const isDenied = error instanceof AccessDenied
      log.warn({ source: slug, code, isDenied, requestId }, 'the groups of a service were not read')
      throw error
    }
  })
  if (first.snapshotAt === null) await inTime(graphWaitMs.first, reading, 'graph_unavailable')
  else await within(graphWaitMs.stored, reading)
}

const isFresh = ({ syncedSecondsAgo }: StoredService) =>
  (syncedSecondsAgo ?? Number.POSITIVE_INFINITY) < goodForSeconds

/**
 * Applies what `newsOf` finds that a token says beyond what is stored. One at a time for a service, each by what is stored
 * by then: most that come at once find that they have nothing to write any more.
 */
export async function applyNews(
  { writes, limit }: UnderWay,
  { first, look }: ServiceUpdate,
  newsOf: (service: StoredService) => Promise<Snapshot | undefined>,
  apply: (snapshot: Snapshot) => Promise<unknown>,
): Promise<void> {
  const write = async () => {
    const service = await look()
    const news = service && (await newsOf(service))
    if (news) await limit(() => apply(news))
  }
  const writeUntilKnown = async () => {
    for (let service: StoredService | undefined = first; service; service = await look()) {
      const news = await newsOf(service)
      if (!news) return
      const another = writes.underWay(first.userId)
      try {
        await (another ?? writes.join(first.userId, write))
      } catch (thrown) {
        // What is stored is what the token says, and only isn't known to be as new.
        if (service.digest === digestOf(news.memberships)) return
        throw thrown
      }
      if (!another) return
    }
  }
  await inTime(writeWaitMs, writeUntilKnown(), 'database_failed')
}

/** @throws {SyncError} with this code where it takes longer; it goes on all the same. */
async function inTime<Value>(ms: number, work: Promise<Value>, code: ErrorCode): Promise<Value> {
  const late = AbortSignal.timeout(ms)
  return await unlessAborted(late, work).catch((error: unknown) => {
    if (error !== late.reason) throw error
    throw new SyncError(code, 'a service was not brought up to date in time')
  })
}
