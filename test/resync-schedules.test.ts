import { afterEach, describe, expect, test, vi } from 'vitest'
import { closeDatabase, openDatabase } from '../db/client.ts'
import { listResyncs } from '../db/resyncs.ts'
import { loadConfig } from '../src/config.ts'
import { createLog } from '../src/log.ts'
import { describeStart } from '../src/queue/catalogue.ts'
import { advanceResync, beginResync, secondsLeft } from '../src/resync.ts'
import { resyncOf } from '../src/resync-settings.ts'
import { createResyncProcessor, upsertSchedules } from '../workers/schedules.ts'
import { givenWorld } from './support/people.ts'
import { fastResync } from './support/resyncs.ts'
import { availableBackends, type World } from './support/world.ts'

const { open, login, personIn } = givenWorld()

const enqueueBatches = async () => false

afterEach(() => vi.useRealTimers())

const sourcesOf = (...told: [slug: string, Parameters<typeof resyncOf>[0]][]) =>
  new Map(told.map(([slug, resync]) => [slug, { slug, resync: resyncOf(resync) }]))

async function schedulesOf({ context }: World) {
  const found = await context.backend.openResyncQueue().getJobSchedulers()
  return found.map(({ key, pattern, tz, every }) => ({ key, pattern, tz, every }))
}

describe.each(availableBackends())('with the queue in %s', (backend) => {
  test('the schedules are those of the configuration, however many workers say so, and change with it', async () => {
    const world = await open({ backend })
    const { db } = world
    const queue = world.context.backend.openResyncQueue()
    const two = sourcesOf(
      ['one', { schedule: '30 2 * * *', timeZone: 'Europe/Berlin' }],
      ['two', { schedule: 'every 6h' }],
    )
    await Promise.all(Array.from({ length: 5 }, () => upsertSchedules(db, queue, two)))
    const every = { key: 'full two', every: 21_600_000 }
    expect((await schedulesOf(world)).toSorted((a, b) => a.key.localeCompare(b.key))).toMatchObject([
      { key: 'full one', pattern: '30 2 * * *', tz: 'Europe/Berlin' },
      every,
    ])
    await upsertSchedules(
      db,
      queue,
      sourcesOf(['one', { schedule: 'off' }], ['two', { schedule: 'every 12h' }]),
    )
    expect(await schedulesOf(world)).toMatchObject([{ ...every, every: 43_200_000 }])
    const [{ next } = { next: 0 }] = await queue.getJobSchedulers()
    for (let start = 0; start < 3; start += 1)
      await upsertSchedules(db, queue, sourcesOf(['two', { schedule: 'every 12h' }]))
    expect((await queue.getJobSchedulers())[0]?.next).toBe(next)
    await upsertSchedules(db, queue, sourcesOf())
    expect(await schedulesOf(world)).toEqual([])
  })

  test('a schedule that the queue has lost is made anew, and one that another worker has changed is left alone', async () => {
    const world = await open({ backend })
    await world.startWorkers({ resync: { ...fastResync.resync, schedulesMs: 50 } })
    const queue = world.context.backend.openResyncQueue()
    await queue.removeJobScheduler('full entra-id')
    const kept = async () => (await schedulesOf(world)).map(({ pattern }) => pattern)
    await vi.waitFor(async () => expect(await kept()).toEqual(['0 3 * * *']), 20_000)
    await upsertSchedules(world.db, queue, sourcesOf(['entra-id', { schedule: '0 4 * * *' }]))
    await upsertSchedules(world.db, queue, world.context.sources, { onlyMissing: true })
    await upsertSchedules(world.db, queue, new Map(), { onlyMissing: true })
    expect(await kept()).toEqual(['0 4 * * *'])
  })

  test('what a schedule asks for begins once, whatever number of workers and of jobs there is', async () => {
    // So that it doesn't come to its first step.
    const world = await open({ backend, environment: { RESYNC_SPREAD_MINUTES: '1440' } })
    const workers = await world.startWorkers(fastResync)
    await login(personIn(1))
    const [, other] = [workers, await world.startWorkers(fastResync)]
    const queue = world.context.backend.openResyncQueue()
    const start = { name: 'start-resync', data: { source: 'entra-id', mode: 'full' as const } }
    await queue.addBulk([start, start, start])
    await vi.waitUntil(async () => (await queue.getJobCountByTypes('completed')) === 3, 20_000)
    const resyncs = await listResyncs(world.db, 9)
    expect(resyncs).toMatchObject([{ cause: 'schedule', state: 'running', due: 0 }])
    await other.stop()
  })
})

test('a nightly resync is asked for until a database is back that was away for an hour, and its failure shows codes only', async () => {
  const world = await open({ backend: 'postgres' })
  const { attempts, backoff } = describeStart({ source: 'entra-id', mode: 'full' }).opts
  const longest = Array.from({ length: attempts - 1 }, (_, retry) => backoff.delay * 2 ** retry)
  expect(longest.reduce((sum, ms) => sum + ms) / 2).toBeGreaterThan(3_600_000)
  const away = openDatabase('postgres://nobody:secret-word@127.0.0.1:1/none')
  const processor = createResyncProcessor(
    { db: away, sources: () => world.context.sources, batchSources: world.context.sources },
    createLog('silent'),
  )
  const worker = world.context.backend.openResyncWorker(processor)
  const failed = new Promise<Error>((resolve) => worker.on('failed', (_job, error) => resolve(error)))
  await world.context.backend.openResyncQueue().add('start-resync', { source: 'entra-id', mode: 'full' })
  expect((await failed).message).toBe(
    'database_failed: the database refused or was not reached (ECONNREFUSED)',
  )
  await closeDatabase(away)
})

test.for([
  ['when the hour is left out', '2026-03-28T03:00:00Z', ['2026-03-29T01:30:00Z', '2026-03-30T00:30:00Z']],
  ['when the hour comes twice', '2026-10-24T03:00:00Z', ['2026-10-25T00:30:00Z', '2026-10-26T01:30:00Z']],
] as const)('a schedule of a time zone starts once a night, also %s', async ([, from, nights]) => {
  const world = await open({ backend: 'postgres' })
  const { db } = world
  const queue = world.context.backend.openResyncQueue()
  const sources = sourcesOf(['one', { schedule: '30 2 * * *', timeZone: 'Europe/Berlin' }])
  vi.useFakeTimers({ toFake: ['Date'], now: new Date(from) })
  for (const night of nights) {
    await upsertSchedules(db, queue, sources)
    const [scheduler] = await queue.getJobSchedulers()
    expect(new Date(Number(scheduler?.next)).toISOString()).toBe(new Date(night).toISOString())
    vi.setSystemTime(Number(scheduler?.next) + 1000)
    await queue.removeJobScheduler('full one')
  }
})

test('a scheduled one spreads those who are due, begins up to a tenth later, and takes only whom it has to', async () => {
  const world = await open({ backend: 'postgres' })
  const { db, source } = world
  const workers = await world.startWorkers()
  for (let count = 0; count < 4; count += 1) await login(personIn(1))
  await workers.stop()
  const [fresh] = await db.$client`select id from users limit 1`
  await db.$client`update users set last_synced_at = now() - interval '2 days' where id <> ${fresh!['id']}`
  const spread = { ...source, resync: resyncOf({ spreadMinutes: 60, maxAgeHours: 20 }) }
  const { resync } = await beginResync(db, spread, { mode: 'full', cause: 'schedule' }, () => 1)
  expect(resync.due).toBe(3)
  const taken: unknown[] = []
  const parts = { db, enqueueBatches, enqueue: async (jobs: readonly unknown[]) => taken.push(...jobs) > 0 }
  const at = async (minutes: number) => {
    await db.$client`update resyncs set begins_at = clock_timestamp() - ${minutes} * interval '1 minute'`
    await advanceResync(parts, spread, resync.id)
    return taken.length
  }
  expect(await at(-1)).toBe(0)
  expect(await at(19)).toBe(1)
  expect(await at(39)).toBe(2)
  expect(await at(60)).toBe(3)
  // Nobody is left, however many there were thought to be.
  await db.$client`update users set last_synced_at = now() - interval '2 days'`
  await db.$client`delete from resync_users`
  await db.$client`update resyncs set cursor_synced_at = '-infinity', due = 1, all_taken = false`
  await at(61)
  expect((await listResyncs(db, 1))[0]).toMatchObject({ taken: 7, state: 'running' })
  await db.$client`delete from resync_users`
  await at(61)
  expect((await listResyncs(db, 1))[0]).toMatchObject({ state: 'done' })
  expect(taken.slice(0, 3)).not.toContainEqual(expect.objectContaining({ userId: fresh!['id'] }))
})

test('a scheduled one ends as soon as everybody who was due is done, and at once where nobody was', async () => {
  const world = await open({ backend: 'postgres' })
  const { db, source } = world
  const workers = await world.startWorkers()
  await login(personIn(1))
  await workers.stop()
  const parts = { db, enqueueBatches, enqueue: async () => true }
  const spread = { ...source, resync: resyncOf({ spreadMinutes: 60, maxAgeHours: 20 }) }
  const begin = async () =>
    (await beginResync(db, spread, { mode: 'full', cause: 'schedule' }, () => 0)).resync
  const none = await begin()
  expect(await advanceResync(parts, spread, none.id)).toMatchObject({ due: 0, state: 'done' })
  await db.$client`update users set last_synced_at = now() - interval '2 days'`
  const one = await begin()
  await db.$client`update resyncs set begins_at = begins_at - interval '10 minutes' where id = ${one.id}`
  expect(await advanceResync(parts, spread, one.id)).toMatchObject({ due: 1, taken: 1, state: 'running' })
  await db.$client`delete from resync_users`
  expect(await advanceResync(parts, spread, one.id)).toMatchObject({ taken: 1, state: 'done' })
})

test('a worker takes over other schedules without being started anew', async () => {
  const world = await open({ backend: 'postgres' })
  const workers = await world.startWorkers(fastResync)
  expect(await schedulesOf(world)).toMatchObject([{ key: 'full entra-id', pattern: '0 3 * * *' }])
  const changed = loadConfig({ ...world.environment, RESYNC_SCHEDULE: 'every 30m' })
  await workers.reload(changed.sources)
  expect(await schedulesOf(world)).toMatchObject([{ key: 'full entra-id', every: 1_800_000 }])
})

test.for([
  ['RESYNC_SCHEDULE', '3am', /^must be off, an interval/],
  ['RESYNC_SCHEDULE', 'every 1m', /at least 5m/],
  ['RESYNC_SCHEDULE', '0 3 * *', /five fields of cron/],
  ['RESYNC_SCHEDULE', '0 3 * * 9', /five fields of cron/],
  ['RESYNC_SCHEDULE', 'H 3 * * *', /five fields of cron/],
  ['RESYNC_TIME_ZONE', 'Berlin', /IANA name/],
  ['ABSENT_POLICY', 'delete', /keep, freeze or remove/],
  ['RESYNC_DELTA', 'every 5m', /goes with RESYNC_READ=app only/],
  ['RESYNC_DELTA', 'every 5s', /at least 1m/],
] as const)('%s=%s is refused with what to write', async ([setting, value, message]) => {
  const world = await open({ backend: 'postgres' })
  expect(() => loadConfig({ ...world.environment, [setting]: value })).toThrow(
    expect.objectContaining({ problems: [{ setting, message: expect.stringMatching(message) }] }),
  )
})

test('the time that is left is told by the pace so far', () => {
  const resync = { startedAt: '2026-01-01T00:00:00Z', due: 100, done: 25, state: 'running' as const }
  const at = Date.parse('2026-01-01T00:01:00Z')
  expect(secondsLeft(resync, at)).toBe(180)
  expect(secondsLeft({ ...resync, done: 0 }, at)).toBeUndefined()
  expect(secondsLeft({ ...resync, state: 'done' }, at)).toBeUndefined()
})
