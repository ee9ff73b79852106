import { expect, test, vi } from 'vitest'
import { stepResync } from '../db/resync-steps.ts'
import { findResync, listResyncs } from '../db/resyncs.ts'
import { createGraphClient } from '../src/graph/client.ts'
import { createLog } from '../src/log.ts'
import type { SyncBatchJob, SyncUserJob } from '../src/queue/catalogue.ts'
import { createBatchEnqueue } from '../src/queue/enqueue.ts'
import { resyncOf } from '../src/resync-settings.ts'
import { advanceResync, beginResync } from '../src/resync.ts'
import { syncBatch } from '../src/sync-batch.ts'
import { startResyncRunner } from '../workers/resync.ts'
import { createResyncProcessor } from '../workers/schedules.ts'
import { givenAppWorld } from './support/app-world.ts'
import { endOf, fastResync, knowPeople, takenBy } from './support/resyncs.ts'

const silent = createLog('silent')

const { open, login, personIn } = givenAppWorld()

test('a resync is its own source’s, whatever other sources a worker knows', async () => {
  const { db, source, startWorkers } = await open('postgres')
  const workers = await startWorkers(fastResync)
  await login(personIn(1))
  await workers.stop()
  const first = { slug: 'first', resync: { ...source.resync, read: 'delegated' as const } }
  const { resync } = await beginResync(db, source, { mode: 'full', cause: 'manual' })
  const jobs: (SyncUserJob | SyncBatchJob)[] = []
  const take = async (told: readonly (SyncUserJob | SyncBatchJob)[]) => jobs.push(...told) > 0
  const sources = new Map([first, source].map((each) => [each.slug, each]))
  const runner = startResyncRunner(
    { db, enqueue: take, enqueueBatches: take, log: silent, sources: () => sources },
    { intervalMs: 10 },
  )
  await vi.waitUntil(async () => (await findResync(db, resync.id))?.taken === 1 && jobs.length > 0)
  await runner.stop()
  expect(jobs).toEqual([expect.objectContaining({ source: source.slug, userIds: [expect.any(String)] })])
})

test('who asks for everybody joins a scheduled one that then is for everybody, and now', async () => {
  const { db, source, startWorkers } = await open('postgres')
  await startWorkers(fastResync)
  for (let count = 0; count < 3; count += 1) await login(personIn(1))
  const later = { ...source, resync: resyncOf({ read: 'app', spreadMinutes: 600, maxAgeHours: 20 }) }
  const scheduled = await beginResync(db, later, { mode: 'full', cause: 'schedule' }, () => 1)
  expect(scheduled.resync).toMatchObject({ due: 0, state: 'running' })
  const { resync, joined } = await beginResync(db, source, { mode: 'full', cause: 'manual' })
  expect([joined, resync.id, resync.due]).toEqual([true, scheduled.resync.id, 3])
  expect(await endOf(db, resync.id)).toMatchObject({ state: 'done', due: 3, taken: 3, done: 3 })
})

test('what has changed is asked of one tenant only: a source of several begins nothing that nobody would end', async () => {
  const { db, source, context } = await open('postgres')
  const batchSources = new Map([[source.slug, { ...source, singleTenant: undefined }]])
  const processor = createResyncProcessor({ db, sources: () => context.sources, batchSources }, silent)
  const worker = context.backend.openResyncWorker(processor)
  const ended = new Promise((resolve) => worker.on('completed', (_job, result) => resolve(result)))
  await context.backend.openResyncQueue().add('start-resync', { source: source.slug, mode: 'delta' })
  expect(await ended).toBe('no tenant')
  expect(await listResyncs(db, 9)).toEqual([])
})

const taken = takenBy(login)

test('where nobody is there any more, neither groups nor accounts are taken from more people than the guard allows', async () => {
  const world = await open('postgres', { GUARD_RESYNC_MIN_REMOVALS: '3', GUARD_RESYNC_MAX_SHARE: '10' })
  const people = Array.from({ length: 6 }, () => personIn(1))
  const { sync } = await taken(world, people)
  for (const person of people) world.simulator.tenant.deleteUser(person)
  expect(await sync()).toEqual({ gone: 2, held: 4 })
  expect(await world.db.$client`select from users where enabled`).toHaveLength(4)
  expect(await world.db.$client`select from memberships`).toHaveLength(4)
})

test('who signs in after the app has read that they may not stays signed in', async () => {
  const world = await open('postgres')
  const { db, simulator } = world
  const person = personIn(1)
  const { sync } = await taken(world, [person])
  simulator.tenant.updateUser(person, { accountEnabled: false })
  await db.$client`update users set last_login_at = clock_timestamp() + interval '1 second'`
  expect(await sync()).toEqual({ unchanged: 1 })
  expect(await db.$client`select from users where enabled`).toHaveLength(1)
  await db.$client`update users set last_login_at = clock_timestamp()`
  await db.$client`update resync_users set taken_at = clock_timestamp()`
  expect(await sync()).toEqual({ unchanged: 1 })
  expect(await db.$client`select from users where enabled`).toHaveLength(0)
})

test('who may not sign in any more is disabled together with the run that says so, or is asked about again', async () => {
  const world = await open('postgres')
  const { db, simulator } = world
  const person = personIn(1)
  const { sync } = await taken(world, [person])
  simulator.tenant.updateUser(person, { accountEnabled: false })
  await db.$client.unsafe(`create function refuse() returns trigger language plpgsql as
    'begin raise exception ''the worker dies here''; end';
    create trigger refuse before insert on sync_runs for each row execute function refuse()`)
  await expect(sync()).rejects.toMatchObject({ code: 'database_failed' })
  expect(await db.$client`select from users where enabled`).toHaveLength(1)
  await db.$client`drop trigger refuse on sync_runs`
  expect(await sync()).toEqual({ unchanged: 1 })
  expect(await db.$client`select from users where enabled`).toHaveLength(0)
})

test('a batch that comes again reads those only who have no run, or were told of since', async () => {
  const world = await open('postgres')
  const { $client: sql } = world.db
  const people = [personIn(1), personIn(1), personIn(1)]
  const { sync } = await taken(world, people)
  expect(await sync()).toEqual({ unchanged: 3 })
  expect(await sync()).toEqual({ skipped: 3 })
  await sql`update resync_users set taken_at = clock_timestamp(), enqueued_at = null
    where user_id = (select id from users where object_id = ${people[0]!})`
  expect(await sync()).toEqual({ unchanged: 1, skipped: 2 })
  await sql`update sync_runs set outcome = 'failed', error_code = 'throttled_too_long' where started_at = (
    select max(started_at) from sync_runs)`
  expect(await sync()).toEqual({ unchanged: 1, skipped: 2 })
})

test('no fewer people are taken than one request reads, but for the last', async () => {
  const world = await open('postgres')
  const { db, source } = world
  await knowPeople(
    world,
    Array.from({ length: 20 }, () => crypto.randomUUID()),
  )
  const { resync } = await beginResync(db, source, { mode: 'full', cause: 'manual' })
  const step = { window: 25, jobSize: 18, needsToken: false, absent: undefined }
  expect(await stepResync(db, resync.id, step)).toMatchObject({ taken: 18 })
  await db.$client`delete from resync_users where user_id = (select user_id from resync_users limit 1)`
  expect(await stepResync(db, resync.id, step)).toMatchObject({ taken: 18 })
  await db.$client`delete from resync_users`
  expect(await stepResync(db, resync.id, step)).toMatchObject({ taken: 20, state: 'running' })
})

test('a batch reads nobody whom the resync does not wait for any more', async () => {
  const world = await open('postgres')
  const [first, second] = [personIn(1), personIn(1)]
  const { sync } = await taken(world, [first, second])
  const { $client: sql } = world.db
  await sql`delete from users where object_id = ${first}`
  expect(await sync()).toEqual({ unchanged: 1, skipped: 1 })
  await sql`delete from resync_users`
  expect(await sync()).toEqual({ skipped: 2 })
})

test('people of a tenant that the source does not take any more are not read', async () => {
  const world = await open('postgres')
  const { job, resync } = await taken(world, [personIn(1)])
  const sources = new Map([[job.source, { ...world.source, takesTenant: () => false }]])
  expect(await syncBatch({ db: world.db, sources }, job)).toEqual({ failed: 1 })
  const runs = await world.db.$client`
    select error_code as code, requests from sync_runs where resync_id = ${resync.id}`
  expect(runs).toEqual([{ code: 'wrong_tenant', requests: 0 }])
})

test('a run of a batch that the database does not take is an error of the database', async () => {
  const world = await open('postgres')
  const { sync } = await taken(world, [personIn(1)])
  await world.db.$client`alter table sync_runs add constraint nothing_denied check (outcome <> 'denied')`
  world.simulator.faults.next({ on: { path: /transitiveMemberOf/ }, status: 403 })
  await expect(sync()).rejects.toMatchObject({ code: 'database_failed' })
})

test('who has groups too large for an answer fails with a run, which is counted with those of all who are read', async () => {
  const world = await open('postgres')
  const large = personIn(1)
  const { job, resync } = await taken(world, [personIn(1), large, personIn(1)])
  const { tenant, graphUrl } = world.simulator
  const group = tenant.addGroup({ displayName: 'Large', kind: 'security', description: 'd'.repeat(20_000) })
  tenant.addMember(group.id, large)
  world.simulator.requests.clear()
  const openGraph = (accessToken: string) =>
    createGraphClient({ baseUrl: graphUrl, accessToken, maxBytes: 15_000 })
  const sources = new Map([[job.source, { ...world.source, openGraph }]])
  expect(await syncBatch({ db: world.db, sources }, job)).toEqual({ unchanged: 2, failed: 1 })
  const { $client: sql } = world.db
  const failed =
    await sql`select u.object_id as who, r.error_code as code from sync_runs r join users u on u.id = r.user_id
    where r.resync_id = ${resync.id} and r.outcome = 'failed'`
  expect(failed).toEqual([{ who: large, code: 'answer_too_large' }])
  const [cost] =
    await sql`select sum(requests)::int as requests, sum(resource_units)::int as units from sync_runs
    where resync_id = ${resync.id}`
  const asked = world.simulator.requests.all({ path: /\$batch$/ }).length
  expect(asked).toBeGreaterThan(2)
  expect(cost?.['requests']).toBe(asked)
  expect(cost?.['units']).toBeGreaterThanOrEqual(4 + asked)
})

test('who waits beside somebody of another batch has a job', async () => {
  const { context } = await open('postgres')
  const [resyncId, first, second] = [crypto.randomUUID(), crypto.randomUUID(), crypto.randomUUID()]
  const batch = (...userIds: string[]) => ({ userIds, tenantId: 'a', source: 'a', resyncId })
  const enqueue = createBatchEnqueue(context.producer)
  const queue = context.backend.openBatchQueue()
  for (const people of [[first], [first], [first, second]]) await enqueue([batch(...people)])
  expect(await queue.getJobCountByTypes('waiting')).toBe(2)
})

test('a resync that never hears what has changed ends, and of rounds that told nothing a day is kept', async () => {
  const { db, source } = await open('postgres')
  const parts = { db, enqueue: async () => false, enqueueBatches: async () => false }
  const begin = async () => (await beginResync(db, source, { mode: 'delta', cause: 'schedule' })).resync.id
  const first = await begin()
  expect(await advanceResync(parts, source, first)).toMatchObject({ state: 'running' })
  await db.$client`update resyncs set started_at = now() - interval '61 minutes'`
  expect(await advanceResync(parts, source, first)).toMatchObject({ state: 'failed', ended: true })
  await db.$client`update resyncs set state = 'done', ended_at = now() - interval '25 hours'`
  const second = await begin()
  await db.$client`update resyncs set all_taken = true where id = ${second}`
  expect(await advanceResync(parts, source, second)).toMatchObject({ state: 'done', ended: true })
  expect(await listResyncs(db, 9)).toMatchObject([{ id: second, endedAt: expect.any(String) }])
})

test('what a resync held is not settled by one that read nobody', async () => {
  const { db, source } = await open('postgres')
  const before = async () =>
    (
      await db.$client<
        { before: number }[]
      >`select removed_before as before from resyncs where state = 'running'`
    )[0]
  await db.$client`insert into resyncs (source, mode, cause, state, removed_before, started_at, ended_at) values
    (${source.slug}, 'delta', 'schedule', 'held', 250, now() - interval '2 minutes', now()),
    (${source.slug}, 'delta', 'schedule', 'done', 0, now() - interval '1 minute', now())`
  await beginResync(db, source, { mode: 'delta', cause: 'schedule' })
  expect(await before()).toEqual({ before: 250 })
})
