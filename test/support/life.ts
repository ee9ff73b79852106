import type { JobsOptions } from 'bullmq'
import fc from 'fast-check'
import { vi } from 'vitest'
import { cancelResync, findResync, listResyncs, type ResyncMode } from '../../db/resyncs.ts'
import { beginResync } from '../../src/resync.ts'
import { faultsOf, type Fault } from '../../src/simulator/index.ts'
import type { Workers } from '../../workers/main.ts'
import type { givenWorld } from './people.ts'
import { fastResync, minutesPass } from './resyncs.ts'
import type { World } from './world.ts'

/** One thing that happens to a tenant, to Graph or to the workers; the numbers say to whom, and how. */
export type Step = { what: (typeof all)[number]; one: number; other: number }

const all = [
  'storm',
  'disable',
  'enable',
  'nest deep',
  'cut deep',
  'sign in',
  'fault',
  'trouble',
  'forget',
  'changes',
  'everybody',
  'cancel',
  'stop',
  'start',
] as const

const shares: Record<(typeof all)[number], number> = {
  storm: 8,
  disable: 1,
  enable: 1,
  'nest deep': 2,
  'cut deep': 2,
  'sign in': 6,
  fault: 5,
  trouble: 1,
  forget: 1,
  changes: 4,
  everybody: 1,
  cancel: 2,
  stop: 1,
  start: 3,
}

/** Steps of a life in which the app reads by itself, or of one in which nobody but people themselves do. */
export function stepsOf(read: 'app' | 'delegated'): fc.Arbitrary<Step> {
  const ofApp: readonly string[] = ['trouble', 'forget', 'changes']
  const usable = all.filter((what) => read === 'app' || !ofApp.includes(what))
  return fc.record({
    what: fc.oneof(...usable.map((what) => ({ weight: shares[what], arbitrary: fc.constant(what) }))),
    one: fc.nat(1_000_000),
    other: fc.nat(1_000_000),
  })
}

const soon = { 'retry-after': '1' }
const faults: readonly Fault[] = [
  { status: 429, headers: soon },
  { status: 500 },
  { status: 503 },
  faultsOf.cutBody(),
  faultsOf.truncatedJson(),
]
const paths = [
  /\$batch$/,
  /\/users\/delta$/,
  /\/groups\/delta$/,
  /transitiveMembers/,
  /transitiveMemberOf/,
  /\/token$/,
]

export function givenLife(
  world: World,
  people: Pick<ReturnType<typeof givenWorld>, 'storedGroups' | 'signedIn'>,
) {
  const { simulator, db, context, source } = world
  const { tenant } = simulator
  const pick = <One>(from: readonly One[], at: number): One | undefined => from[at % Math.max(1, from.length)]
  let workers: Workers | undefined
  const queues = {
    sync: context.backend.openQueue('sync'),
    batch: context.backend.openBatchQueue(),
    resync: context.backend.openResyncQueue(),
  }

  const start = async () => (workers ??= await world.startWorkers(fastResync))
  const begin = async (mode: ResyncMode, options: JobsOptions = { attempts: 2 }) =>
    await queues.resync.add('start-resync', { source: source.slug, mode }, options)

  const steps: Record<Step['what'], (one: number, other: number) => unknown> = {
    storm: (one, other) => tenant.mutate(one, 1 + (other % 8)),
    disable: (one) => setEnabled(one, false),
    enable: (one) => setEnabled(one, true),
    'nest deep': (one, other) => {
      const [outer, inner] = [pick(tenant.groups(), one), pick(tenant.groups(), other)]
      if (!outer || !inner || outer.id === inner.id || outer.groupTypes.includes('Unified')) return
      const middle = tenant.addGroup({ displayName: 'Middle', kind: 'security' })
      tenant.nest(outer.id, middle.id)
      tenant.nest(middle.id, inner.id)
    },
    'cut deep': (one) => {
      const middle = pick(
        tenant.groups().filter(({ displayName }) => displayName === 'Middle'),
        one,
      )
      if (middle) tenant.deleteGroup(middle.id)
    },
    'sign in': async (one) => {
      const user = pick(tenant.users(), one)
      // Entra lets nobody in who is disabled.
      if (user?.accountEnabled === true) await context.loginSucceeded(await people.signedIn(user.id))
    },
    fault: (one, other) =>
      simulator.faults.next({
        ...pick(faults, other),
        on: { path: pick(paths, one) ?? '' },
        times: 1 + (other % 3),
      }),
    trouble: (one, other) =>
      simulator.delta.set({
        pageSize: 1 + (one % 9),
        membersPerPage: 1 + (other % 5),
        emptyPages: one % 2,
        repeats: other % 4,
        replays: (one + other) % 20,
        properties: one % 3 === 0 ? 'changed' : 'all',
        expired: pick([400, 410, 'reset'] as const, other) ?? 400,
      }),
    forget: () => simulator.delta.forgetTokens(),
    changes: async () => await begin('delta'),
    everybody: async (one) =>
      one % 2 === 0 ? await begin('full') : await beginResync(db, source, { mode: 'full', cause: 'manual' }),
    cancel: async () => {
      for (const { id } of await listResyncs(db, 50)) await cancelResync(db, id)
    },
    stop: async () => {
      await workers?.stop()
      workers = undefined
    },
    start,
  }

  function setEnabled(one: number, accountEnabled: boolean) {
    const user = pick(tenant.users(), one)
    if (user) tenant.updateUser(user.id, { accountEnabled })
  }

  const waiting = async () => {
    let open = 0
    for (const queue of Object.values(queues))
      open += await queue.getJobCountByTypes('waiting', 'active', 'delayed', 'prioritized')
    return open
  }

  /** Jobs that wait for a later attempt, and people whose job may be lost, are not waited for as long. */
  async function hurry() {
    for (const job of await queues.sync.getDelayed()) await job.promote().catch(() => undefined)
    for (const job of await queues.batch.getDelayed()) await job.promote().catch(() => undefined)
    // Under the lock of their resyncs, as everybody changes these rows: none waits for another in a circle.
    await db.$client`
      with held as materialized (select id from resyncs where state = 'running' order by id for no key update)
      update resync_users set enqueued_at = enqueued_at - interval '61 seconds' where resync_id in (select id from held)`
    await db.$client`update resyncs set begins_at = least(begins_at, clock_timestamp()) where state = 'running'`
  }

  /** Nothing is broken any more, and what was begun has ended. */
  async function calm() {
    simulator.faults.clear()
    await start()
    await vi.waitUntil(
      async () => {
        await hurry()
        const [left] = await db.$client<{ many: number }[]>`
          select (select count(*) from resyncs where state = 'running' and (mode = 'full' or all_taken))::int
            + (select count(*) from login_events where enqueued_at is null)::int as many`
        return left?.many === 0 && (await waiting()) === 0
      },
      { timeout: 60_000, interval: 50 },
    )
  }

  async function resync() {
    const { resync: begun } = await beginResync(db, source, { mode: 'full', cause: 'manual' })
    await calm()
    return await findResync(db, begun.id)
  }

  /** One round of changes, minutes later, and of everybody where changes can't be told any more. */
  async function round() {
    await start()
    await minutesPass(db)
    // Graph may have asked for a pause before, which a round waits for as it would for the schedule's next.
    const job = await begin('delta', { attempts: 40, backoff: { type: 'fixed', delay: 500 } })
    await calm()
    if ((await job.getState()) !== 'completed') throw new Error('a clean round of changes has failed')
  }

  /** Who is stored otherwise than the tenant has them; with usable tokens, if told so. */
  async function differences({ withTokens = false } = {}) {
    const users = await db.$client<{ id: string; enabled: boolean; state: string }[]>`
      select u.object_id as id, u.enabled, t.state from users u join delegated_tokens t on t.user_id = u.id order by 1`
    const truth = new Map(tenant.users().map((user) => [user.id, user]))
    const found: unknown[] = []
    for (const { id, enabled, state } of users) {
      const user = truth.get(id)
      if (withTokens && (state !== 'valid' || user?.accountEnabled !== true)) continue
      const stored = { enabled, groups: await people.storedGroups(id) }
      const remote = {
        enabled: user?.accountEnabled === true,
        groups: user
          ? tenant
              .groupsOf(id)
              .map((group) => group.id)
              .toSorted()
          : [],
      }
      if (JSON.stringify(stored) !== JSON.stringify(remote)) found.push({ id, stored, remote })
    }
    return found
  }

  return {
    take: async ({ what, one, other }: Step) => void (await steps[what](one, other)),
    calm,
    resync,
    round,
    differences,
  }
}
