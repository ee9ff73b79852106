import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { bareBatchesPerSecond } from './bare-batches.ts'
import type { BenchCheck, BenchContext, BenchPart, BenchReport, BenchRow } from './part.ts'
import { fullRun, killedRun, signInEvery, type FullRun, type KilledRun } from './resync-scenes.ts'
import { heapMegabytes, openLargeTenant, openResyncWorld } from './resync-world.ts'
import { findQueues, noRedis } from './world.ts'

const people = Number(process.env['BENCH_PEOPLE'] ?? 20_000)
const few = people / 10
const signers = 200

/**
 * Of what this machine does without a limit, the share that the limit lets pass: it has to hold the run up, not the machine,
 * on which whoever plays Microsoft runs as well.
 */
const limitShare = Number(process.env['BENCH_LIMIT_SHARE'] ?? 0.5)

/** People of a full batch, and the units that it costs. */
const batch = { people: 18, units: 20 }

/** A full run of a large source: its memory, what it leaves to sign-ins, what Graph refuses, and what a killed worker costs. */
export const resyncPart: BenchPart = {
  name: 'resync',
  summary: `a full resync of ${people} people: memory beside one of ${few}, sign-ins meanwhile, refusals, a killed worker`,
  run: async ({ databaseUrl, progress }: BenchContext): Promise<BenchReport> => {
    const [queue, ...others] = await findQueues(databaseUrl)
    if (!queue) throw new Error('there is no queue')
    const folder = await mkdtemp(path.join(tmpdir(), 'entra-group-sync-bench-'))
    progress(`a tenant of ${people} people`)
    const tenant = await openLargeTenant(people, signers)
    const world = await openResyncWorld({ databaseUrl, queue, folder }, tenant)
    const parts = { tenant, world }
    try {
      const bare = await bareBatchesPerSecond(tenant)
      progress(`${few} people`)
      const small = await fullRun(parts, few)
      const units = Math.round(unitsPerSecond(small) * limitShare * 10)
      progress(`${people} people, ${units} units in ten seconds`)
      const large = await fullRun(parts, people, units)
      // Those of a worker that is killed are active until the queue misses it.
      const left = await world.jobsLeft()
      progress('the same people again, and a worker that is killed half-way')
      const killed = await killedRun(parts)
      return {
        rows: rowsOf({ bare, small, large, killed, units }),
        checks: checksOf({ small, large, killed, left }),
        notes: [
          `queue in ${queue.name}; tenant, worker and whoever signs in are processes of their own`,
          `the worker's heap has ${heapMegabytes > 0 ? `${heapMegabytes} MB at most` : 'no limit of ours'}`,
          `one sign-in each ${signInEvery} ms, ${large.idle.count} before the large run and ${large.busy.count} during it`,
          `the large run has a limit of ${units} units in ten seconds, ${Math.round(limitShare * 100)} % of what the small one needed`,
          `killed when ${killed.finished} had a run; ${killed.readTwice} others were in a batch by then and read again`,
          ...(others.length === 0 ? [noRedis] : []),
        ],
      }
    } finally {
      await world.close()
      await tenant.close()
      await rm(folder, { recursive: true })
    }
  },
}

function unitsPerSecond({ resync, seconds }: FullRun): number {
  return (resync.done / seconds / batch.people) * batch.units + (1000 / signInEvery) * 2
}

type Measured = { bare: number; small: FullRun; large: FullRun; killed: KilledRun; units: number }

function rowsOf({ bare, small, large, killed, units }: Measured): BenchRow[] {
  const atMost = (most: number) => ({ goal: { atMost: most } })
  const row = (name: string, unit: BenchRow['unit'], value: number, floor: number, against: string) => ({
    name,
    unit,
    value,
    floor,
    against,
  })
  const { idle, busy, counts } = large
  return [
    {
      ...row(
        'peak memory of the worker',
        'MB',
        large.megabytes,
        small.megabytes,
        `the same for ${few} people`,
      ),
      ...atMost(1.2),
    },
    {
      ...row('p95 of loginSucceeded, meanwhile', 'ms', busy.callP95, idle.callP95, 'idle, same worker'),
      ...atMost(2),
    },
    {
      ...row('p95 of login to synced, meanwhile', 'ms', busy.syncedP95, idle.syncedP95, 'idle, same worker'),
      ...atMost(2),
    },
    { ...row('answers of 429', '', counts.throttled, counts.answers, 'all answers'), ...atMost(0.005) },
    row('units used', 'per s', counts.units / large.seconds, units / 10, 'what the limit lets pass'),
    row(
      'requests of the resync for 1,000 people',
      '',
      (large.resync.requests / large.resync.done) * 1000,
      1000 / batch.people,
      `${batch.people} people in each`,
    ),
    row(
      'people, all of them new, no limit',
      'per s',
      small.resync.done / small.seconds,
      bare,
      'bare batches',
    ),
    row('people, nothing changed, no limit', 'per s', killed.perSecond, bare, 'bare batches'),
  ]
}

function checksOf({
  small,
  large,
  killed,
  left,
}: Pick<Measured, 'small' | 'large' | 'killed'> & { left: number }): BenchCheck[] {
  const ends = [small, large, killed].map(({ resync }) => resync)
  return [
    {
      name: 'everybody is read',
      // Who signs in meanwhile may not be due any more when their turn comes.
      passed: ends.every(
        ({ state, taken, due, done, failed }) =>
          state === 'done' && done === taken && due - done <= signers && failed === 0,
      ),
      detail: ends.map(({ due, done, failed }) => `${done} of ${due}, ${failed} failed`).join('; '),
    },
    {
      name: 'nobody who had a run when the worker was killed is read again',
      passed: killed.repeated === 0,
      detail: `${killed.repeated} of ${killed.finished}`,
    },
    { name: 'no job of a resync is left in the queue', passed: left === 0, detail: `${left} left` },
  ]
}
