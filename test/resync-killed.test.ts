import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { decodeJwt } from 'jose'
import { afterEach, describe, expect, test, vi } from 'vitest'
import { beginResync } from '../src/resync.ts'
import { givenAppWorld } from './support/app-world.ts'
import { runScript, type Command } from './support/process.ts'
import { endOf, fastResync, knowPeople } from './support/resyncs.ts'
import { availableBackends, type World } from './support/world.ts'

const { open, login, personIn } = givenAppWorld()

const closers: (() => Promise<unknown>)[] = []

afterEach(async () => {
  for (const close of closers.splice(0).toReversed()) await close()
})

/** A worker in a process of its own, once it takes jobs. */
async function startWorker(world: World): Promise<Command> {
  const folder = await mkdtemp(join(tmpdir(), 'resync-killed-'))
  closers.push(async () => await rm(folder, { recursive: true }))
  const authority = join(folder, 'authority.pem')
  await writeFile(authority, world.simulator.https?.caCertificate ?? '')
  const worker = runScript('test/support/worker-process.ts', [world.queuePrefix], {
    ...world.environment,
    NODE_EXTRA_CA_CERTS: authority,
  })
  closers.push(async () => await kill(worker))
  await worker.line(/worker started/)
  return worker
}

async function kill(worker: Command): Promise<void> {
  worker.child.kill('SIGKILL')
  await worker.ended
}

/** Looks until it is so; what it looks at are other processes, which tell nobody. */
async function until(so: () => Promise<boolean> | boolean): Promise<void> {
  await vi.waitUntil(so, { timeout: 60_000, interval: 20 })
}

/** How often each of these people was read, by whoever did it. */
function readsOf({ simulator }: World, people: readonly string[]): number[] {
  const read = simulator.requests.all({ path: /transitiveMemberOf/ }).map(({ path, headers }) => {
    const [, user] = /\/users\/([^/]+)\//.exec(path) ?? []
    return user ?? decodeJwt(headers['authorization']?.replace('Bearer ', '') ?? '')['oid']
  })
  return people.map((person) => read.filter((user) => user === person).length)
}

/** Object ids of whoever has a run of a resync. */
async function ended({ db }: World): Promise<string[]> {
  const rows = await db.$client<{ id: string }[]>`
    select u.object_id as id from sync_runs r join users u on u.id = r.user_id where r.resync_id is not null`
  return rows.map(({ id }) => id)
}

/**
 * Another worker carries on until everybody has a run, and no step of the resync is made meanwhile: a job that comes again
 * finds everything as its worker left it.
 */
async function carryOn(world: World, resyncId: string, people: readonly string[]): Promise<void> {
  await world.db.$client.begin(async (sql) => {
    await sql`select from resyncs where id = ${resyncId} for no key update`
    await startWorker(world)
    await until(async () => new Set(await ended(world)).size === people.length)
    const queues = [world.context.backend.openQueue('sync'), world.context.backend.openBatchQueue()]
    for (const queue of queues)
      await until(async () => (await queue.getJobCountByTypes('active', 'waiting', 'prioritized')) === 0)
  })
}

describe.each(availableBackends())('with the queue in %s', (backend) => {
  test('of a batch whose worker was killed, another reads those only who have no run, and nobody else again', async () => {
    const world = await open(backend)
    const { db, source, context } = world
    const people = Array.from({ length: 60 }, () => personIn(1))
    await knowPeople(world, people)
    await db.$client.unsafe(`create function tell() returns trigger language plpgsql as
      'begin perform pg_notify(''run'', new.outcome); return new; end';
      create trigger tell after insert on sync_runs for each row execute function tell()`)
    let runs = 0
    const listening = await db.$client.listen('run', () => (runs += 1))
    const { resync } = await beginResync(db, source, { mode: 'full', cause: 'manual' })
    const worker = await startWorker(world)
    await until(() => runs >= 24)
    await kill(worker)
    await listening.unlisten()
    const before = await ended(world)
    await carryOn(world, resync.id, people)
    expect(await endOf(db, resync.id)).toMatchObject({ state: 'done', due: 60, done: 60, failed: 0 })
    expect(new Set(readsOf(world, before))).toEqual(new Set([1]))
    const again = readsOf(world, people).filter((reads) => reads !== 1)
    expect(again.length).toBeLessThan(18)
    expect(again.every((reads) => reads === 2)).toBe(true)
    expect(await ended(world)).toHaveLength(60)
    expect(await context.backend.openBatchQueue().getJobCountByTypes('completed')).toBe(0)
  }, 120_000)

  test('whose run was stored when their worker was killed is not read again with their own token', async () => {
    const world = await open(backend, { RESYNC_READ: 'delegated' })
    const { db, source, simulator, context } = world
    const workers = await world.startWorkers(fastResync)
    const people = Array.from({ length: 6 }, () => personIn(1))
    const shared = simulator.tenant.addGroup({ displayName: 'Staff', kind: 'security' }).id
    for (const person of people) {
      simulator.tenant.addMember(shared, person)
      await login(person)
      simulator.tenant.removeMember(shared, person)
    }
    await workers.stop()
    simulator.requests.clear()
    // Whether the group that somebody left still exists is asked once their run is stored.
    const hanging = simulator.faults.next({ on: { path: /\/groups\/[0-9a-f-]+$/ }, hang: true })
    const { resync } = await beginResync(db, source, { mode: 'full', cause: 'manual' })
    const worker = await startWorker(world)
    await until(() => hanging.remaining() === 0)
    await kill(worker)
    const before = await ended(world)
    expect(before.length).toBeGreaterThan(0)
    await carryOn(world, resync.id, people)
    expect(await endOf(db, resync.id)).toMatchObject({ state: 'done', due: 6, done: 6, changed: 6 })
    expect(new Set(readsOf(world, before))).toEqual(new Set([1]))
    expect(await ended(world)).toHaveLength(6)
    const kept = await context.backend.openQueue('sync').getJobs(['completed'])
    expect(kept.filter(({ data }) => data.cause === 'resync')).toEqual([])
  }, 120_000)
})
