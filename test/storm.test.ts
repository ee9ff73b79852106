import { describe, expect, test } from 'vitest'
import type { ThrottleStatistics } from '../src/simulator/index.ts'
import { givenWorld } from './support/people.ts'
import { availableBackends, type Backend } from './support/world.ts'

const { open, signedIn, remoteGroups, followRuns } = givenWorld()

/** What the limit lets pass a second at the speed of time, at a unit for the person and one for the page. */
const runsPerSecond = 3500 / 10 / 2

/**
 * How fast time may go for the limit, and not this machine, to hold the storm up: half of what the machine does
 * without a limit.
 */
async function paceOfTime(backend: Backend): Promise<number> {
  const { simulator, context, startWorkers, close } = await open({
    backend,
    seed: { users: 300, groups: 50, keep: 0 },
    environment: { GRAPH_UNITS_PER_10S: '1000000', LOG_LEVEL: 'warn' },
  })
  const synced = followRuns(300)
  await synced.listening
  await startWorkers()
  const begun = performance.now()
  await Promise.all(
    simulator.tenant.users().map(async ({ id }) => context.loginSucceeded(await signedIn(id))),
  )
  await synced.done
  const seconds = (performance.now() - begun) / 1000
  await close()
  return Math.min(1, 300 / seconds / 2 / runsPerSecond)
}

/** The whole storm on one queue; the second kind, whose runs are slower, shows the same with a quarter of it. */
const storms = availableBackends().map((backend, index) => ({
  backend,
  people: index === 0 ? 2000 : 500,
  signIns: index === 0 ? 5000 : 1250,
}))

describe.each(storms)('with the queue in $backend', ({ backend, people, signIns }) => {
  test(`${signIns} sign-ins of ${people} people in a small tenant all end synced, with hardly a refusal and hardly a unit unused`, async () => {
    const timeScale = await paceOfTime(backend)
    const { simulator, context, db, startWorkers, close } = await open({
      backend,
      seed: { users: people, groups: 300, keep: 0, throttle: { size: 'S', timeScale } },
      environment: { GRAPH_UNITS_PER_10S: String(Math.round(3500 * timeScale)), LOG_LEVEL: 'warn' },
    })
    const events = context.backend.openEvents('sync')
    await events.waitUntilReady()
    const samples: ThrottleStatistics[] = []
    events.on('completed', () => samples.push(simulator.throttle.statistics()))
    const queue = context.backend.openQueue('sync')

    const users = simulator.tenant.users()
    const known = new Map<string, Awaited<ReturnType<typeof signedIn>>>()
    const eventOf = async (id: string) => {
      const event = known.get(id) ?? (await signedIn(id))
      known.set(id, event)
      return event
    }
    // A full bucket would bear the whole storm unpaced.
    simulator.throttle.drain(1000)
    await Promise.all([startWorkers({ concurrency: 10 }), startWorkers({ concurrency: 10 })])
    let next = 0
    const signInSome = async () => {
      for (let index = next++; index < signIns; index = next++) {
        const { id } = users[(index * 7) % people]!
        // Who comes again has left a group meanwhile: whatever else happens, the last sign-in must show it.
        const [group] = index < people ? [] : simulator.tenant.groupsOf(id, { transitive: false })
        if (group) simulator.tenant.removeMember(group.id, id)
        await context.loginSucceeded(await eventOf(id))
      }
    }
    await Promise.all(Array.from({ length: 8 }, signInSome))
    const { promise: drained, resolve } = Promise.withResolvers<void>()
    const look = async () => {
      const counts = await queue.getJobCounts('waiting', 'active', 'delayed', 'prioritized')
      if (Object.values(counts).every((jobs) => jobs === 0)) resolve()
    }
    events.on('completed', () => void look())
    // An event of a queue in Postgres can be missed: their ids are not committed in their order.
    const looking = setInterval(() => void look(), 500)
    await drained
    clearInterval(looking)

    const stored = await db.$client<{ objectId: string; groups: string[] }[]>`
      select u.object_id as "objectId", coalesce(json_agg(g.object_id order by g.object_id collate "C")
        filter (where g.id is not null), '[]') as groups
      from users u left join memberships m on m.user_id = u.id left join groups g on g.id = m.group_id
      where u.sync_state = 'synced' group by 1`
    expect(stored).toHaveLength(people)
    const wrong = stored.filter(
      ({ objectId, groups }) => groups.join() !== remoteGroups(objectId).toSorted().join(),
    )
    expect(wrong).toEqual([])

    const { answers, throttled } = simulator.throttle.statistics()
    expect(throttled / answers).toBeLessThan(0.005)
    const [from, to] = [samples[Math.floor(samples.length / 10)]!, samples[Math.floor(samples.length * 0.9)]!]
    expect((to.units - from.units) / (to.available - from.available)).toBeGreaterThan(0.9)
    const [{ attempts } = { attempts: 0 }] = await db.$client<{ attempts: number }[]>`
      select count(*)::int as attempts from sync_runs where outcome not in ('applied', 'unchanged')`
    expect(attempts).toBe(0)
    await close()
  }, 600_000)
})
