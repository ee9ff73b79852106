import { expect, test } from 'vitest'
import type { SyncBatchJob } from '../src/queue/catalogue.ts'
import { advanceResync } from '../src/resync.ts'
import { syncBatch } from '../src/sync-batch.ts'
import { givenAppWorld } from './support/app-world.ts'
import { takenBy } from './support/resyncs.ts'
import type { World } from './support/world.ts'

const { open, login, personIn } = givenAppWorld()

const taken = takenBy(login)

/** The source, with something that happens after each answer to a batch and before what it says is stored. */
function meanwhile({ source }: World, happen: () => Promise<unknown>) {
  const openGraph: typeof source.openGraph = (...args) => {
    const graph = source.openGraph(...args)
    return {
      ...graph,
      request: async (request) => {
        const answer = await graph.request(request)
        await happen()
        return answer
      },
    }
  }
  return new Map([[source.slug, { ...source, openGraph }]])
}

/** A step of a resync, and the people whom it asks for. */
async function stepAsking({ db, source }: World, resyncId: string) {
  const asked: string[] = []
  const enqueueBatches = async (jobs: readonly SyncBatchJob[]) => {
    asked.push(...jobs.flatMap(({ userIds }) => userIds))
    return true
  }
  const stepped = await advanceResync({ db, enqueue: async () => false, enqueueBatches }, source, resyncId)
  return { state: stepped?.state, done: stepped?.done, failed: stepped?.failed, asked }
}

test.for(['is there', 'is gone'])(
  'whom a sign-in overtakes while a batch reads them, and who %s, is asked about again with the next step',
  async (how) => {
    const world = await open('postgres')
    const { db, simulator } = world
    const person = personIn(1)
    const { job, resync, sync } = await taken(world, [person])
    const [userId] = job.userIds
    if (how === 'is gone') simulator.tenant.deleteUser(person)
    const signIn = async () => await db.$client`update users set snapshot_at = clock_timestamp()`
    expect(await syncBatch({ db, sources: meanwhile(world, signIn) }, job)).toEqual({ stale: 1 })
    expect(await stepAsking(world, resync.id)).toMatchObject({ state: 'running', done: 0, asked: [userId] })
    expect(await sync()).toEqual(how === 'is gone' ? { gone: 1 } : { unchanged: 1 })
    expect(await stepAsking(world, resync.id)).toMatchObject({ state: 'done', done: 1, failed: 0 })
  },
)

test('whom the resync itself has read while another batch of it read them is done', async () => {
  const world = await open('postgres')
  const { db } = world
  const { job, resync, sync } = await taken(world, [personIn(1)])
  expect(await syncBatch({ db, sources: meanwhile(world, sync) }, job)).toEqual({ stale: 1 })
  expect(await stepAsking(world, resync.id)).toMatchObject({ state: 'done', done: 1, asked: [] })
})

test('who was told of while a batch read them keeps the job that was made since', async () => {
  const world = await open('postgres')
  const { db } = world
  const { job, resync } = await taken(world, [personIn(1)])
  const tell = async () => {
    await db.$client`update users set snapshot_at = clock_timestamp()`
    await db.$client`update resync_users set taken_at = clock_timestamp(), enqueued_at = clock_timestamp()`
  }
  expect(await syncBatch({ db, sources: meanwhile(world, tell) }, job)).toEqual({ stale: 1 })
  expect(await stepAsking(world, resync.id)).toMatchObject({ state: 'running', asked: [] })
})

test('who is overtaken again and again is given up like anybody', async () => {
  const world = await open('postgres')
  const { db } = world
  const { job, resync } = await taken(world, [personIn(1)])
  const signIn = async () => await db.$client`update users set snapshot_at = clock_timestamp()`
  const sources = meanwhile(world, signIn)
  expect(await syncBatch({ db, sources }, job)).toEqual({ stale: 1 })
  await db.$client`update resync_users set taken_at = taken_at - interval '7 hours'`
  expect(await syncBatch({ db, sources }, job)).toEqual({ stale: 1 })
  expect(await stepAsking(world, resync.id)).toMatchObject({ state: 'done', done: 1, failed: 1 })
})
