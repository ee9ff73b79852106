import { describe, expect, test } from 'vitest'
import { listRuns } from '../db/sync-runs.ts'
import { cancelResync, findResync } from '../db/resyncs.ts'
import type { SyncUserResult } from '../src/queue/backend.ts'
import { createEnqueue } from '../src/queue/enqueue.ts'
import { advanceResync, approveHeldResync, beginResync } from '../src/resync.ts'
import { createLog } from '../src/log.ts'
import { startResyncRunner } from '../workers/resync.ts'
import { createSyncUserProcessor } from '../workers/sync-user.ts'
import { givenWorld } from './support/people.ts'
import { endOf, fastResync, resyncAll } from './support/resyncs.ts'
import { availableBackends, type World } from './support/world.ts'

const { open, login, personIn, storedGroups, remoteGroups } = givenWorld()

const enqueueBatches = async () => false

/** People who have signed in and been synced once. */
async function known(count: number, groups = 2): Promise<string[]> {
  const people = Array.from({ length: count }, () => personIn(groups))
  for (const person of people) await login(person)
  return people
}

async function userIdOf({ db }: World, objectId: string): Promise<string> {
  const [row] = await db.$client<{ id: string }[]>`select id from users where object_id = ${objectId}`
  return row!.id
}

describe.each(availableBackends())('with the queue in %s', (backend) => {
  test('a resync brings everybody up to date, each run points to it, and it is told what it came to', async () => {
    const world = await open({ backend })
    const { db, simulator, source } = world
    await world.startWorkers(fastResync)
    const people = await known(5)
    const [first, second, gone] = people
    const group = simulator.tenant.addGroup({ displayName: 'New', kind: 'security' }).id
    simulator.tenant.addMember(group, first!)
    simulator.tenant.removeMember(remoteGroups(second!)[0]!, second!)
    await db.$client`update delegated_tokens set state = 'needs_login', reason = 'AADSTS50173'
      where user_id = ${await userIdOf(world, gone!)}`
    const ended = await resyncAll(db, source)
    expect(ended).toMatchObject({
      state: 'done',
      due: 5,
      taken: 5,
      done: 5,
      changed: 2,
      needsLogin: 1,
      failed: 0,
    })
    expect(ended.requests).toBeGreaterThanOrEqual(4)
    expect(ended.resourceUnits).toBeGreaterThanOrEqual(8)
    for (const person of people.slice(0, 2))
      expect(await storedGroups(person)).toEqual(remoteGroups(person).toSorted())
    const runs =
      await db.$client`select outcome, count(*)::int as runs from sync_runs where resync_id = ${ended.id} group by 1 order by 1`
    expect(runs).toEqual([
      { outcome: 'applied', runs: 2 },
      { outcome: 'unchanged', runs: 2 },
    ])
    expect(await db.$client`select count(*)::int as left from resync_users`).toEqual([{ left: 0 }])
  })

  test('a cancelled resync reads nobody any more, whatever waits in the queue', async () => {
    const world = await open({ backend })
    const { db, source, simulator } = world
    const workers = await world.startWorkers(fastResync)
    await known(3)
    await workers.stop()
    const { resync } = await beginResync(db, source, { mode: 'full', cause: 'manual' })
    await advanceResync(
      { db, enqueueBatches, enqueue: createEnqueue(world.context.producer) },
      source,
      resync.id,
    )
    expect(await cancelResync(db, resync.id)).toBe(true)
    expect(await cancelResync(db, resync.id)).toBe(false)
    const before = simulator.throttle.statistics().answers
    const queue = world.context.backend.openQueue('sync')
    expect(await queue.getJobCountByTypes('prioritized')).toBe(3)
    await world.startWorkers(fastResync)
    while ((await queue.getJobCountByTypes('prioritized', 'waiting', 'active')) > 0);
    expect(simulator.throttle.statistics().answers).toBe(before)
    expect(await db.$client`select from sync_runs where resync_id = ${resync.id}`).toHaveLength(0)
    expect(await findResync(db, resync.id)).toMatchObject({ state: 'cancelled', done: 0 })
  })

  test('whoever signs in while a job of a cancelled resync is about to begin has a run all the same', async () => {
    const world = await open({ backend })
    const { db, source, context } = world
    const workers = await world.startWorkers(fastResync)
    const [person] = await known(1)
    await workers.stop()
    const { resync } = await beginResync(db, source, { mode: 'full', cause: 'manual' })
    const enqueue = createEnqueue(context.producer)
    await advanceResync({ db, enqueueBatches, enqueue }, source, resync.id)
    await cancelResync(db, resync.id)
    const queue = context.backend.openQueue('sync')
    const process = createSyncUserProcessor({ ...context, queue }, createLog('silent'))
    const taken: unknown[] = []
    const worker = context.backend.openWorker(
      'sync',
      async (job, ...rest) => {
        // As a sign-in does that has found it waiting.
        if (taken.push(job.id) === 1)
          await (
            await queue.getJob(job.id ?? '')
          )?.updateData({
            ...job.data,
            cause: 'login',
            resyncId: undefined,
          })
        return await process(job, ...rest)
      },
      { concurrency: 1 },
    )
    const end = await new Promise<SyncUserResult>((resolve) =>
      worker.on('completed', (_job, result) => resolve(result)),
    )
    expect(end).toMatchObject({ outcome: 'unchanged' })
    expect((await listRuns(db, await userIdOf(world, person!), 1))[0]).toMatchObject({ cause: 'login' })
  })
})

test('a second one joins the first, and whoever dies in the middle is followed by another', async () => {
  const world = await open({ backend: 'postgres' })
  const { db, source } = world
  const workers = await world.startWorkers(fastResync)
  await known(3)
  await workers.stop()
  const begun = await Promise.all(
    Array.from({ length: 5 }, () => beginResync(db, source, { mode: 'full', cause: 'manual' })),
  )
  expect(new Set(begun.map(({ resync }) => resync.id)).size).toBe(1)
  expect(begun.filter(({ joined }) => !joined)).toHaveLength(1)
  const { id } = begun[0]!.resync
  // It has stored its step, and dies before the queue has the jobs.
  await advanceResync({ db, enqueueBatches, enqueue: async () => false }, source, id)
  await world.startWorkers(fastResync)
  expect(await endOf(db, id)).toMatchObject({ state: 'done', taken: 3, done: 3 })
  const runs = await db.$client`select user_id from sync_runs where resync_id = ${id}`
  expect(new Set(runs.map((run) => run['user_id'])).size).toBe(runs.length)
})

test('a run of somebody else’s asking counts, and one that had no turn for an hour does not', async () => {
  const world = await open({ backend: 'postgres' })
  const { db, source } = world
  const workers = await world.startWorkers(fastResync)
  const [person] = await known(1)
  await workers.stop()
  const { resync } = await beginResync(db, source, { mode: 'full', cause: 'manual' })
  const taken: unknown[] = []
  const parts = { db, enqueueBatches, enqueue: async (jobs: readonly unknown[]) => taken.push(...jobs) > 0 }
  await advanceResync(parts, source, resync.id)
  await advanceResync(parts, source, resync.id)
  expect(taken).toHaveLength(1)
  const userId = await userIdOf(world, person!)
  const run = (await listRuns(db, userId, 1))[0]?.id ?? ''
  await db.$client`update sync_runs set started_at = clock_timestamp(), outcome = 'failed', error_code = 'throttled_too_long' where id = ${run}`
  await db.$client`update resync_users set enqueued_at = clock_timestamp() - interval '61 seconds'`
  expect(await advanceResync(parts, source, resync.id)).toMatchObject({ state: 'running', done: 0 })
  expect(taken).toHaveLength(2)
  await db.$client`update sync_runs set outcome = 'applied', error_code = null where id = ${run}`
  await advanceResync(parts, source, resync.id)
  expect(await advanceResync(parts, source, resync.id)).toBeUndefined()
  expect(await findResync(db, resync.id)).toMatchObject({ state: 'done', done: 1 })
})

test('a resync that would take too much ends held, the next is allowed no more, and an approval carries it out', async () => {
  const world = await open({
    backend: 'postgres',
    environment: { GUARD_RESYNC_MIN_REMOVALS: '3', GUARD_RESYNC_MAX_SHARE: '10' },
  })
  const { db, simulator, source } = world
  // One run after the other: those that go on at once don't see each other's removals.
  await world.startWorkers({ ...fastResync, concurrency: 1 })
  const people = await known(6, 1)
  for (const person of people) simulator.tenant.removeMember(remoteGroups(person)[0]!, person)
  const stored = async () => (await db.$client`select from memberships`).length
  const held = await resyncAll(db, source)
  expect(held).toMatchObject({ state: 'held', done: 6 })
  const left = await stored()
  expect(left).toBeGreaterThanOrEqual(4)
  expect(await resyncAll(db, source)).toMatchObject({ state: 'held', changed: 0 })
  expect(await stored()).toBe(left)
  const last = await resyncAll(db, source)
  const parts = { db, enqueue: createEnqueue(world.context.producer) }
  expect(await approveHeldResync(parts, last.id)).toBe(left)
  const drained = async () => (await stored()) === 0
  while (!(await drained()));
  expect(await findResync(db, last.id)).toMatchObject({ state: 'done' })
  const clean = await resyncAll(db, source)
  expect(clean).toMatchObject({ state: 'done', changed: 0, held: 0 })
  for (const id of [crypto.randomUUID(), clean.id])
    await expect(approveHeldResync(parts, id)).rejects.toMatchObject({ code: 'run_not_held' })
  expect(await approveHeldResync(parts, last.id)).toBe(0)
})

test('one whose source no worker knows has failed after a while', async () => {
  const world = await open({ backend: 'postgres' })
  const { db, source } = world
  const { resync } = await beginResync(db, { ...source, slug: 'gone' }, { mode: 'full', cause: 'manual' })
  const workers = await world.startWorkers(fastResync)
  const mine = await resyncAll(db, source)
  expect(mine.state).toBe('done')
  expect(await findResync(db, resync.id)).toMatchObject({ state: 'running', tendedAt: null })
  await workers.stop()
  await db.$client`update resyncs set begins_at = clock_timestamp() - interval '11 minutes' where id = ${resync.id}`
  await world.startWorkers(fastResync)
  expect(await endOf(db, resync.id)).toMatchObject({ state: 'failed', errorCode: 'source_unknown' })
})

test('the jobs of a resync are those of its source, whatever other sources there are', async () => {
  const world = await open({ backend: 'postgres' })
  const { db, source } = world
  const workers = await world.startWorkers(fastResync)
  await known(2)
  await workers.stop()
  const other = { ...source, slug: 'another' }
  await beginResync(db, source, { mode: 'full', cause: 'manual' })
  await beginResync(db, other, { mode: 'full', cause: 'manual' })
  const asked: string[] = []
  const { promise, resolve } = Promise.withResolvers<void>()
  const enqueue = async (jobs: readonly { source: string }[]) => {
    asked.push(...jobs.map((job) => job.source))
    if (asked.length === 2) resolve()
    return true
  }
  const sources = new Map([other, source].map((each) => [each.slug, each]))
  const log = createLog('silent')
  const runner = startResyncRunner(
    { db, enqueue, enqueueBatches, log, sources: () => sources },
    { intervalMs: 10 },
  )
  await promise
  await runner.stop()
  expect(asked).toEqual(['entra-id', 'entra-id'])
})

test('a run that is being written down keeps no step out, and who has had none for hours has failed', async () => {
  const world = await open({ backend: 'postgres' })
  const { db, source } = world
  const workers = await world.startWorkers(fastResync)
  const [person] = await known(1)
  await workers.stop()
  const { resync } = await beginResync(db, source, { mode: 'full', cause: 'manual' })
  const parts = { db, enqueueBatches, enqueue: async () => true }
  await db.$client.begin(async (sql) => {
    await sql`insert into sync_runs (user_id, source, cause, resync_id, started_at, outcome)
      values (${await userIdOf(world, person!)}, 'entra-id', 'resync', ${resync.id}, '2020-01-01', 'unchanged')`
    expect(await advanceResync(parts, source, resync.id)).toMatchObject({ taken: 1, state: 'running' })
  })
  expect(await advanceResync(parts, source, resync.id)).toMatchObject({ done: 0, state: 'running' })
  await db.$client`update resync_users set taken_at = taken_at - interval '6 hours'`
  await db.$client`update sync_runs set started_at = '2020-01-01'`
  expect(await advanceResync(parts, source, resync.id)).toMatchObject({ done: 1, failed: 1, state: 'done' })
})
