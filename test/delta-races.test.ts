import { expect, test } from 'vitest'
import { findDeltaLinks } from '../db/delta-links.ts'
import { endHints, hintUsers } from '../db/hints.ts'
import { cancelResync } from '../db/resyncs.ts'
import { registerSource } from '../db/sources.ts'
import { createBatchEnqueue } from '../src/queue/enqueue.ts'
import { advanceResync, beginResync } from '../src/resync.ts'
import {
  aboutOf,
  beginDelta,
  free,
  fullsOf,
  nobody,
  read,
  readSlowly,
  round,
  givenDeltaWorld,
} from './support/delta-world.ts'
import { fastResync, minutesPass } from './support/resyncs.ts'
import type { World } from './support/world.ts'

const { given, login, personIn, storedGroups, remoteGroups } = givenDeltaWorld()

const linksOf = async ({ db, source }: World) => await findDeltaLinks(db, source.slug, 6 * 86_400)

test('that changes were forgotten is not forgotten itself where the new baseline fails', async () => {
  const { world, ids, tenant } = await given(2)
  tenant.removeMember(remoteGroups(ids[0]!)[0]!, ids[0]!)
  world.simulator.delta.forgetTokens()
  world.simulator.faults.next({ on: { path: '/groups/delta' }, status: 500 })
  const id = await beginDelta(world)
  await expect(read(world, id)).rejects.toMatchObject({ code: 'graph_unavailable' })
  expect(await read(world, id)).toMatchObject({ kind: 'expired' })
  expect(await fullsOf(world)).toMatchObject([{ cause: 'expired', state: 'done', done: 2 }])
  expect(await storedGroups(ids[0]!)).toEqual([])
})

test('where changes were forgotten everybody is read anew, also by a resync that has read them before', async () => {
  const { world, workers, ids, tenant } = await given(3)
  const { db, source } = world
  await workers.stop()
  const { resync } = await beginResync(db, source, { mode: 'full', cause: 'schedule' })
  expect(resync.due).toBe(0)
  tenant.removeMember(remoteGroups(ids[0]!)[0]!, ids[0]!)
  world.simulator.delta.forgetTokens()
  expect(await read(world, await beginDelta(world))).toMatchObject({ kind: 'expired' })
  await world.startWorkers(fastResync)
  expect(await fullsOf(world)).toMatchObject([
    { id: resync.id, cause: 'expired', due: 3, done: 3, changed: 1 },
  ])
  expect(await storedGroups(ids[0]!)).toEqual([])
})

test('who is told of again is read again, whatever has been read since', async () => {
  const { world, workers, ids } = await given(1)
  const { db, source } = world
  await workers.stop()
  const id = await beginDelta(world)
  await hintUsers(db, aboutOf(world, id), ids)
  await db.$client`
    insert into sync_runs (user_id, source, cause, started_at, outcome)
    select id, ${source.slug}, 'login', clock_timestamp(), 'unchanged' from users`
  expect(await hintUsers(db, aboutOf(world, id), ids)).toBe(0)
  expect(await endHints(db, { ...aboutOf(world, id), ...free }, [])).toBe(true)
  expect(await advanceResync({ db, ...nobody }, source, id)).toMatchObject({
    state: 'running',
    due: 1,
    done: 0,
  })
})

test('who is told of while a job reads them, or while it is enqueued, has another job', async () => {
  const { world, workers, ids } = await given(2)
  const { db, source, context } = world
  await workers.stop()
  const id = await beginDelta(world)
  const hint = async () => await hintUsers(db, aboutOf(world, id), ids)
  const enqueue = createBatchEnqueue(context.backend)
  const jobs = async () =>
    await context.backend.openBatchQueue().getJobCountByTypes('active', 'waiting', 'delayed')
  const step = async (enqueueBatches = enqueue) =>
    await advanceResync({ db, ...nobody, enqueueBatches }, source, id)
  const begun = Promise.withResolvers<void>()
  const over = Promise.withResolvers<Record<string, number>>()
  context.backend.openBatchWorker(
    async () => {
      begun.resolve()
      return await over.promise
    },
    { concurrency: 1 },
  )
  await hint()
  await step()
  await begun.promise
  await hint()
  await step()
  expect(await jobs()).toBe(2)
  await step()
  expect(await jobs()).toBe(2)
  await hint()
  await step(async (told) => (await hint()) === 0 && (await enqueue(told)))
  expect(await jobs()).toBe(3)
  await step()
  expect(await jobs()).toBe(4)
  over.resolve({})
})

test('a resync that waits for what has changed does not end before, though the round before has ended', async () => {
  const { world, workers } = await given(1)
  const { db, source } = world
  await workers.stop()
  const id = await beginDelta(world)
  await endHints(db, { ...aboutOf(world, id), ...free }, [])
  expect(await beginDelta(world)).toBe(id)
  expect(await advanceResync({ db, ...nobody }, source, id)).toMatchObject({ state: 'running' })
  await endHints(db, { ...aboutOf(world, id), ...free }, [])
  expect(await advanceResync({ db, ...nobody }, source, id)).toMatchObject({ state: 'done' })
})

test('what is told for a resync that has ended is told again', async () => {
  const { world, workers, ids, tenant } = await given(1)
  const { db } = world
  await workers.stop()
  const before = await linksOf(world)
  const id = await beginDelta(world)
  await cancelResync(db, id)
  tenant.removeMember(remoteGroups(ids[0]!)[0]!, ids[0]!)
  expect(await read(world, id)).toMatchObject({ kind: 'ended', hinted: 0 })
  expect(await linksOf(world)).toEqual(before)
  expect(await db.$client`select from resync_users`).toHaveLength(0)
  await world.startWorkers(fastResync)
  expect(await round(world)).toMatchObject({ hinted: 1, resync: { changed: 1 } })
})

test('who could not be read is read in the next round, though nothing is told of them any more', async () => {
  const { world, ids, tenant } = await given(3)
  const late = personIn(1)
  for (const id of ids) tenant.removeMember(remoteGroups(id)[0]!, id)
  const path = `/users/${ids[1]!}/transitiveMemberOf`
  world.simulator.faults.next({ on: { path }, status: 500 })
  world.simulator.faults.next({ on: { path: '/me/transitiveMemberOf' }, status: 400 })
  expect(await login(late)).toMatchObject({ outcome: 'failed' })
  expect((await round(world)).resync).toMatchObject({ done: 4, changed: 3, failed: 1 })
  expect(await storedGroups(ids[1]!)).toHaveLength(1)
  expect(await round(world)).toMatchObject({ hinted: 0, resync: { changed: 1, failed: 0 } })
  for (const id of [...ids, late]) expect(await storedGroups(id)).toEqual(remoteGroups(id))
  expect((await round(world)).resync).toMatchObject({ due: 0, done: 0 })
})

test('a run of a person’s own token that came to nothing is not the one of the app', async () => {
  const { world, workers, ids } = await given(1)
  const { db, source } = world
  await workers.stop()
  const id = await beginDelta(world)
  await hintUsers(db, aboutOf(world, id), ids)
  await db.$client`
    insert into sync_runs (user_id, source, cause, started_at, outcome, error_code)
    select id, ${source.slug}, 'login', clock_timestamp(), 'needs_login', 'token_rejected' from users`
  await endHints(db, { ...aboutOf(world, id), ...free }, [])
  expect(await advanceResync({ db, ...nobody }, source, id)).toMatchObject({ state: 'running', done: 0 })
})

test.for([
  ['is refused', 'https://{graph}/v1.0/users/delta?$deltatoken=anothers'],
  ['is another Graph’s', 'https://graph.microsoft.us/v1.0/users/delta?$deltatoken=anothers'],
])('a link that %s has expired', async ([, link]) => {
  const { world } = await given(1)
  const graph = new URL(world.config.sources[0]!.graphBaseUrl).host
  await world.db.$client`update delta_links set link = ${link!.replace('{graph}', graph)}`
  expect(await round(world)).toMatchObject({ kind: 'expired' })
  expect(await round(world)).toMatchObject({ kind: 'changes' })
})

test('a token that Graph does not take any more is renewed for a round of changes too', async () => {
  const { world } = await given(1)
  world.simulator.faults.next({ on: { path: '/users/delta' }, status: 401 })
  expect(await round(world)).toMatchObject({ kind: 'changes' })
})

test('links go with the tenant they are of, and one that is late is not stored', async () => {
  const { world } = await given(1)
  const { db, source, config } = world
  const late = await beginDelta(world)
  const { slug, clientId } = config.sources[0]!
  await registerSource(db, { slug, name: 'Contoso', tenantId: crypto.randomUUID(), clientId })
  expect(await linksOf(world)).toEqual({ links: [], expired: false })
  expect(await read(world, late)).toMatchObject({ kind: 'baseline' })
  expect(await linksOf(world)).toEqual({ links: [], expired: false })
  expect(source.slug).toBe(slug)
})

test('who is stored in a group after changes have told that it is gone is read once more', async () => {
  const { world, ids, tenant } = await given(1)
  const { db } = world
  const [outer, inner] = ['Outer', 'Inner'].map(
    (displayName) => tenant.addGroup({ displayName, kind: 'security' }).id,
  )
  tenant.addMember(outer!, inner!)
  await round(world)
  tenant.addMember(inner!, ids[0]!)
  let told: Awaited<ReturnType<typeof round>> | undefined
  const late = await readSlowly(world, ids[0]!, async () => {
    tenant.deleteGroup(inner!)
    told = await round(world)
  })
  expect(late).toMatchObject({ outcome: 'applied', counts: { added: 2 } })
  expect(told).toMatchObject({ kind: 'changes', hinted: 0 })
  await minutesPass(db)
  expect((await round(world)).resync).toMatchObject({ done: 1, changed: 1 })
  expect(await storedGroups(ids[0]!)).toEqual(remoteGroups(ids[0]!))
  await minutesPass(db)
  expect((await round(world)).resync).toMatchObject({ done: 0 })
})
