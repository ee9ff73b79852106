import { describe, expect, test } from 'vitest'
import { describeJob } from '../src/queue/catalogue.ts'
import type { SyncUserResult } from '../src/queue/backend.ts'
import { givenWorld } from './support/people.ts'
import { availableBackends } from './support/world.ts'

const { open, login, personIn, signedIn, storedGroups, remoteGroups } = givenWorld()

describe.each(availableBackends())('with the queue in %s', (backend) => {
  /** Somebody who has one job on the failed list, and whose next read waits until it is let go. */
  const givenFailedJob = async () => {
    const world = await open({ backend })
    const { simulator, context, db, startWorkers } = world
    const queue = context.backend.openQueue('sync')
    const events = context.backend.openEvents('sync')
    const failed = Promise.withResolvers<string>()
    const ends: SyncUserResult[] = []
    const followers: (() => void)[] = []
    events.on('failed', ({ jobId }) => failed.resolve(jobId))
    events.on('completed', ({ returnvalue }) => {
      ends.push(returnvalue)
      for (const follow of followers) follow()
    })
    await events.waitUntilReady()
    const person = personIn(1)
    simulator.faults.next({ on: { path: /\$batch/ }, rewrite: () => ({ value: 'no batch' }) })
    await context.loginSucceeded(await signedIn(person))
    await startWorkers()
    const job = await queue.getJob(await failed.promise)
    const [user] = await db.$client<{ id: string }[]>`select id from users`
    const ended = async (count: number) => {
      const reached = Promise.withResolvers<void>()
      const look = () => ends.length >= count && reached.resolve()
      followers.push(look)
      look()
      await reached.promise
    }
    return { world, queue, job: job!, person, userId: user!.id, ends, ended }
  }

  test('a replayed job hands its work to a job that has its user to itself', async () => {
    const { queue, job, person, userId, ends, ended } = await givenFailedJob()
    await job.retry()
    await ended(1)
    expect(ends).toEqual([expect.objectContaining({ userId, outcome: 'applied' })])
    expect(await storedGroups(person)).toEqual(remoteGroups(person))
    expect(await queue.getJob(job.id!)).toBeUndefined()
    const counts = await queue.getJobCounts('failed', 'delayed', 'completed')
    expect(counts).toEqual({ failed: 0, delayed: 0, completed: 1 })
  })

  test('a job replayed while its user is read does not read beside it, but makes one more run', async () => {
    const { world, queue, job, person, ends, ended } = await givenFailedJob()
    const { simulator } = world
    const reads = () => simulator.requests.all({ path: /\$batch$/ }).length
    const before = reads()
    simulator.faults.next({ on: { path: /\$batch/ }, delayMs: 1500 })
    const signIn = login(person)
    while (reads() === before) await new Promise((resolve) => setImmediate(resolve))
    await job.retry()
    while ((await queue.getJob(job.id!)) !== undefined) await new Promise((resolve) => setImmediate(resolve))
    expect(await queue.getJobCounts('active', 'waiting')).toEqual({ active: 1, waiting: 0 })
    await signIn
    await ended(2)
    expect(ends.map(({ outcome }) => outcome)).toEqual(['applied', 'unchanged'])
    expect(reads()).toBe(before + 2)
  })

  test('a job that waited for its turn or is tried again is no replay', async () => {
    const { world, queue, userId, ends, ended } = await givenFailedJob()
    world.simulator.faults.next({
      on: { path: /\$batch/ },
      status: 429,
      headers: { 'Retry-After': '1' },
    })
    const tenantId = world.simulator.tenant.id
    const { name, data, opts } = describeJob('sync-user', {
      userId,
      tenantId,
      source: 'entra-id',
      cause: 'manual',
    })
    await queue.add(name, data, opts)
    await ended(1)
    expect(ends).toEqual([expect.objectContaining({ outcome: 'applied' })])
  })
})
