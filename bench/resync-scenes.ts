import { setTimeout as delay } from 'node:timers/promises'
import { findResync, type StoredResync } from '../db/resyncs.ts'
import { databaseNow, summariseWave, waveProgress } from '../db/wave.ts'
import { beginResync } from '../src/resync.ts'
import { millisecondsOf } from './measure.ts'
import { storePeople, type LargeTenant, type ResyncWorld, type TenantCounts } from './resync-world.ts'

export type Parts = { tenant: LargeTenant; world: ResyncWorld }

/** Milliseconds: what `loginSucceeded` took, and from the event to the end of the run that followed. */
export type SignIns = { count: number; callP95: number; syncedP95: number }

export type FullRun = {
  resync: StoredResync
  seconds: number
  counts: TenantCounts
  megabytes: number
  idle: SignIns
  busy: SignIns
}

/** Milliseconds between two sign-ins, whatever becomes of the one before. */
export const signInEvery = 200

/** So many that the 95th percentile of several runs is about the same. */
const idleSignIns = 300

/** Milliseconds between two looks at how far a resync is. */
const lookEvery = 100

/** No limit that this machine reaches. */
const unlimited = 1_000_000

/**
 * Everybody is read for the first time, so that all of their memberships are written; meanwhile others sign in, as they did
 * before, when nothing else went on.
 */
export async function fullRun({ tenant, world }: Parts, people: number, units = 0): Promise<FullRun> {
  const { db } = world.context
  await storePeople(
    db,
    { tenantId: tenant.tenantId, source: world.source.slug },
    tenant.objectIds.slice(0, people),
  )
  await tenant.limit(0)
  const worker = await world.startWorker(units || unlimited)
  let left = tenant.signers.length
  await signIns({ tenant, world }, () => left-- > 0, 20)
  left = idleSignIns
  const idle = await signIns({ tenant, world }, () => left-- > 0)
  await tenant.limit(units)
  const begun = performance.now()
  const { resync } = await beginResync(db, world.source, { mode: 'full', cause: 'manual' })
  let running = true
  const signingIn = signIns({ tenant, world }, () => running)
  const ended = await reaches(world, resync.id, ({ state }) => state !== 'running')
  const seconds = (performance.now() - begun) / 1000
  running = false
  const counts = await tenant.counts()
  const busy = await signingIn
  return { resync: ended, seconds, counts, idle, busy, megabytes: await worker.stop() }
}

export type KilledRun = {
  resync: StoredResync
  /** People read a second by the one that was killed. */
  perSecond: number
  /** People who had a run when it was killed; those read more than once, and those who are both. */
  finished: number
  readTwice: number
  repeated: number
}

/** The same people once more, with nothing to write; a worker is killed half-way, and another carries on. */
export async function killedRun({ tenant, world }: Parts): Promise<KilledRun> {
  const { db } = world.context
  await tenant.limit(0)
  const first = await world.startWorker(unlimited)
  const begun = performance.now()
  const { resync } = await beginResync(db, world.source, { mode: 'full', cause: 'manual' })
  const half = await reaches(world, resync.id, ({ done, due }) => done >= due / 2)
  const seconds = (performance.now() - begun) / 1000
  await first.kill()
  const finished = await db.$client<{ id: string }[]>`
    select u.object_id as id from sync_runs r join users u on u.id = r.user_id where r.resync_id = ${resync.id}`
  const second = await world.startWorker(unlimited)
  const ended = await reaches(world, resync.id, ({ state }) => state !== 'running')
  const { reads } = await tenant.counts()
  await second.stop()
  return {
    resync: ended,
    perSecond: half.done / seconds,
    finished: finished.length,
    readTwice: Object.values(reads).filter((times) => times > 1).length,
    repeated: finished.filter(({ id }) => (reads[id] ?? 0) > 1).length,
  }
}

async function reaches(
  { context: { db } }: ResyncWorld,
  id: string,
  isSo: (resync: StoredResync) => boolean,
): Promise<StoredResync> {
  for (;;) {
    const resync = await findResync(db, id)
    if (resync && isSo(resync)) return resync
    await delay(lookEvery)
  }
}

/** One after the other at a steady pace, as long as there is another one; resolves when each has been synced. */
async function signIns(
  { tenant, world }: Parts,
  isAnother: () => boolean,
  every = signInEvery,
): Promise<SignIns> {
  const { db, loginSucceeded } = world.context
  const since = await databaseNow(db)
  const calls: Promise<number>[] = []
  for (let at = 0; isAnother(); at += 1) {
    const person = tenant.signers[at % tenant.signers.length]
    if (person) calls.push(millisecondsOf(() => loginSucceeded(person)))
    await delay(every)
  }
  const times = (await Promise.all(calls)).toSorted((a, b) => a - b)
  while ((await waveProgress(db, since)).ended < calls.length) await delay(lookEvery)
  const { p95Ms } = await summariseWave(db, since)
  return {
    count: calls.length,
    callP95: times[Math.ceil(times.length * 0.95) - 1] ?? Number.NaN,
    syncedP95: p95Ms,
  }
}
