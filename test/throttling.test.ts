import { describe, expect, test } from 'vitest'
import { Throttled } from '../src/errors.ts'
import { describeJob } from '../src/queue/catalogue.ts'
import { givenWorld } from './support/people.ts'
import { availableBackends, type World } from './support/world.ts'

const { open, login, personIn, signedIn, storedGroups, remoteGroups, followRuns } = givenWorld()

const reads = ({ simulator }: World) => simulator.requests.all({ path: /\$batch$/ }).length

/** A user row's id, as jobs carry it. */
async function userOf({ db }: World, objectId: string): Promise<string> {
  const [user] = await db.$client<{ id: string }[]>`select id from users where object_id = ${objectId}`
  return user!.id
}

const jobFor = ({ simulator }: World, userId: string, more: object = {}) =>
  describeJob('sync-user', {
    userId,
    tenantId: simulator.tenant.id,
    source: 'entra-id',
    cause: 'login',
    ...more,
  })

describe.each(availableBackends())('with the queue in %s', (backend) => {
  test('one refusal pauses the tenant for every worker, and afterwards everybody is served', async () => {
    const world = await open({ backend })
    const { simulator, context, startWorkers } = world
    await Promise.all([startWorkers(), startWorkers()])
    const [first, ...others] = [1, 2, 3, 4].map(personIn)
    simulator.faults.next({ on: { path: /\$batch/ }, status: 429, headers: { 'Retry-After': '2' } })
    const ended = login(first!)
    while ((await world.budget.state())?.pausedMs === 0 || reads(world) === 0)
      await new Promise((resolve) => setImmediate(resolve))
    const ends = [ended, ...others.map((person) => login(person))]
    const queue = context.backend.openQueue('sync')
    while ((await queue.getJobCounts('delayed'))['delayed'] !== 4)
      await new Promise((resolve) => setImmediate(resolve))
    expect(reads(world)).toBe(1)
    expect((await world.budget.state())?.pausedMs).toBeGreaterThan(0)
    for (const end of await Promise.all(ends)) expect(end).toMatchObject({ outcome: 'applied' })
    expect(reads(world)).toBe(5)
  })

  test('an answer near the limit slows the tenant down before anything is refused', async () => {
    const world = await open({ backend })
    const { simulator, startWorkers } = world
    await startWorkers()
    const near = { 'x-ms-throttle-limit-percentage': '0.96' }
    const told = simulator.faults.next({ on: { page: 1 }, headers: near })
    expect(await login(personIn(1))).toMatchObject({ outcome: 'applied' })
    expect(told.remaining()).toBe(0)
    const { pace, pausedMs } = (await world.budget.state())!
    expect(pace).toBeLessThan(1)
    expect(pausedMs).toBe(0)
  })

  test('who waits for a turn waits in the queue, once, and spends no attempt', async () => {
    const world = await open({ backend, environment: { GRAPH_UNITS_PER_10S: '100' } })
    const { context, startWorkers } = world
    await world.budget.pause('high', new Throttled(3000, 'the budget begins with a pause'))
    await startWorkers({ concurrency: 2 })
    const people = Array.from({ length: 12 }, () => personIn(1))
    await Promise.all(people.map((person) => login(person)))
    const jobs = await context.backend.openQueue('sync').getCompleted()
    expect(jobs.map(({ attemptsStarted }) => attemptsStarted)).toEqual(people.map(() => 2))
    expect(jobs.map(({ attemptsMade }) => attemptsMade)).toEqual(people.map(() => 1))
    for (const person of people) expect(await storedGroups(person)).toEqual(remoteGroups(person))
  })

  test('a sign-in is served while resyncs still wait for their turn', async () => {
    // Half a minute for all of them.
    const world = await open({ backend, environment: { GRAPH_UNITS_PER_10S: '10' } })
    const { context, startWorkers } = world
    const people = Array.from({ length: 15 }, () => personIn(1))
    for (const person of people) await context.loginSucceeded(await signedIn(person))
    const queue = context.backend.openQueue('sync')
    await queue.drain()
    const ended = followRuns(1)
    await ended.listening
    await startWorkers()
    for (const person of people) {
      const { name, data, opts } = jobFor(world, await userOf(world, person), { cause: 'resync' })
      // A resync's job leaves nothing when it completes, and that is what is waited for.
      await queue.add(name, data, { ...opts, removeOnComplete: false })
    }
    await ended.done
    expect(await login(people[14]!)).toMatchObject({ outcome: 'applied' })
    expect((await queue.getJobCounts('delayed'))['delayed']).toBeGreaterThan(3)
  })

  test('a job that had no turn for an hour fails with its own code, stays on the board, and can be replayed', async () => {
    const world = await open({ backend })
    const { simulator, context, db, startWorkers } = world
    const person = personIn(1)
    await context.loginSucceeded(await signedIn(person))
    const queue = context.backend.openQueue('sync')
    await queue.drain()
    const userId = await userOf(world, person)
    const { name, data, opts } = jobFor(world, userId)
    const fault = simulator.faults.next({
      on: { path: /\$batch/ },
      status: 429,
      headers: { 'Retry-After': '1' },
      times: 1000,
    })
    const failed = Promise.withResolvers<void>()
    const events = context.backend.openEvents('sync')
    events.on('failed', () => failed.resolve())
    await events.waitUntilReady()
    const job = await queue.add(name, data, opts)
    await job.updateProgress({
      attempt: 0,
      cause: 'login',
      source: data.source,
      since: Date.now() - 3_600_001,
    })
    await startWorkers()
    await failed.promise
    fault.clear()
    const [stored] = await queue.getFailed()
    expect(stored?.failedReason).toMatch(/^throttled_too_long: /)
    const runs = await db.$client`select outcome, error_code as code, retried from sync_runs`
    expect(runs).toEqual([{ outcome: 'failed', code: 'throttled_too_long', retried: false }])
    const ended = followRuns(1)
    await ended.listening
    await (await queue.getJob(job.id!))!.retry()
    await ended.done
    expect(await storedGroups(person)).toEqual(remoteGroups(person))
  })

  test('a tenant that is smaller than was configured is learnt: all are served, and few answers are refusals', async () => {
    const world = await open({
      backend,
      seed: { throttle: { size: 30, timeScale: 10 } },
      environment: { GRAPH_UNITS_PER_10S: '3000' },
    })
    const { simulator, startWorkers } = world
    await startWorkers()
    const people = Array.from({ length: 60 }, () => personIn(1))
    const ends = await Promise.all(people.map((person) => login(person)))
    expect(ends.filter(({ outcome }) => outcome !== 'applied')).toEqual([])
    const { answers, throttled } = simulator.throttle.statistics()
    expect(throttled).toBeGreaterThan(0)
    expect(throttled / answers).toBeLessThan(0.2)
  })
})
