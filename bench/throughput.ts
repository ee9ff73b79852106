import { randomUUID } from 'node:crypto'
import { setTimeout as delay } from 'node:timers/promises'
import { databaseNow, waveProgress } from '../db/wave.ts'
import type { Context } from '../src/context.ts'
import { describeJob, syncQueueName } from '../src/queue/catalogue.ts'
import { startWorkers } from '../workers/main.ts'
import type { BenchContext, BenchPart, BenchReport, BenchRow } from './part.ts'
import {
  findQueues,
  noRedis,
  openBenchContext,
  openTenant,
  type BenchQueue,
  type BenchTenant,
} from './world.ts'

const people = 400
const groupsEach = 50
const sharedGroups = 200
const concurrency = 10

/** Events to applied, a second: everybody signs in at once, then everybody again with nothing changed. */
export const throughputPart: BenchPart = {
  name: 'throughput',
  summary: `${people} people in ${groupsEach} groups each, from login event to rows, against BullMQ with an empty processor`,
  run: async (context: BenchContext): Promise<BenchReport> => {
    const queues = await findQueues(context.databaseUrl)
    const rows: BenchRow[] = []
    const tenant = await openTenant(people, groupsEach, sharedGroups)
    try {
      for (const queue of queues) {
        context.progress(queue.name)
        rows.push(...(await measureQueue(context, queue, tenant)))
      }
    } finally {
      await tenant.close()
    }
    const notes = [
      `${concurrency} jobs at once in one worker process, which also stores and enqueues the events; simulator in a process of its own`,
      'floor: the same jobs, enqueued by addBulk, on the same queue at the same concurrency, with a processor that does nothing',
      ...(queues.length === 1 ? [noRedis] : []),
    ]
    return { rows, checks: [], notes }
  },
}

async function measureQueue(
  { databaseUrl }: BenchContext,
  queue: BenchQueue,
  tenant: BenchTenant,
): Promise<BenchRow[]> {
  const { context, close } = await openBenchContext(databaseUrl, queue, tenant.settings, concurrency)
  try {
    const floor = await emptyJobsPerSecond(context)
    const workers = await startWorkers(context, { concurrency })
    try {
      await context.db.$client`truncate users, groups cascade`
      const first = await signInsPerSecond(context, tenant)
      const again = await signInsPerSecond(context, tenant)
      const row = (name: string, value: number): BenchRow => ({
        name: `${queue.name}, ${name}`,
        unit: 'per s',
        value,
        floor,
        against: 'empty processor',
      })
      return [row('first sign-ins', first), row('nothing changed', again)]
    } finally {
      await workers.stop()
    }
  } finally {
    await close()
  }
}

async function signInsPerSecond({ db, loginSucceeded }: Context, tenant: BenchTenant): Promise<number> {
  const since = await databaseNow(db)
  const begun = performance.now()
  const waiting = [...tenant.people]
  const signInNext = async () => {
    for (let person = waiting.pop(); person; person = waiting.pop()) await loginSucceeded(person)
  }
  await Promise.all(Array.from({ length: 10 }, signInNext))
  while ((await waveProgress(db, since)).ended < people) await delay(20)
  return people / ((performance.now() - begun) / 1000)
}

async function emptyJobsPerSecond({ backend }: Context): Promise<number> {
  const jobs = Array.from({ length: people * 2 }, () =>
    describeJob('sync-user', { userId: randomUUID(), tenantId: 'bench', source: 'bench', cause: 'login' }),
  )
  const all = Promise.withResolvers<void>()
  let done = 0
  const queue = backend.openQueue(syncQueueName)
  const worker = backend.openWorker(
    syncQueueName,
    async ({ data }) => ({ userId: data.userId, runId: '', outcome: '', startedAt: '' }),
    { concurrency },
  )
  worker.on('completed', () => {
    done += 1
    if (done === jobs.length) all.resolve()
  })
  await worker.waitUntilReady()
  const begun = performance.now()
  await queue.addBulk(jobs)
  await all.promise
  const seconds = (performance.now() - begun) / 1000
  await worker.close()
  return jobs.length / seconds
}
