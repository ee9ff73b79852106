import { expect, test, vi } from 'vitest'
import { noteChanges, settleChange, takeChange } from '../db/change-notices.ts'
import { listResyncs } from '../db/resyncs.ts'
import { defaultRhythm } from '../src/subscription.ts'
import { minutesPass } from './support/resyncs.ts'
import { attentive, givenNotifiedWorld, subscribed } from './support/notified-world.ts'
import type { World } from './support/world.ts'

const { open, login, personIn, storedGroups, remoteGroups } = givenNotifiedWorld()

/** A tenant whose people are synced, and that tells of what changes from now on. */
async function given(people: number, environment: Record<string, string> = {}) {
  const world = await open(environment)
  await world.startWorkers(attentive(world))
  const ids = Array.from({ length: people }, () => personIn(1))
  for (const id of ids) await login(id)
  await subscribed(world)
  await askedAbout(world)
  return { world, ids, tenant: world.simulator.tenant }
}

/** Once nothing is left to be told, asked or read. */
async function askedAbout({ db, simulator }: World) {
  await simulator.notifications.idle()
  await vi.waitUntil(
    async () => {
      const waiting = await db.$client`select from subscriptions where changed_at is not null`
      const links = await db.$client`select from delta_links`
      return waiting.length === 0 && links.length === 2 && (await running(db)) === 0
    },
    { timeout: 20_000, interval: 20 },
  )
}

const running = async (db: World['db']) =>
  (await listResyncs(db, 99)).filter(({ state }) => state === 'running').length

test('a membership that changes at Entra is in Postgres without any schedule, and nobody else is read', async () => {
  const { world, ids, tenant } = await given(4)
  const { db } = world
  const reads = async () =>
    await db.$client<{ id: string; person: string }[]>`
    select r.id, u.object_id as person from sync_runs r join users u on u.id = r.user_id`
  const before = new Set((await reads()).map(({ id }) => id))
  const group = tenant.addGroup({ displayName: 'New', kind: 'security' }).id
  tenant.addMember(group, ids[0]!)
  await vi.waitFor(async () => expect(await storedGroups(ids[0]!)).toContain(group), 20_000)
  tenant.removeMember(group, ids[0]!)
  await vi.waitFor(async () => expect(await storedGroups(ids[0]!)).not.toContain(group), 20_000)
  expect(await storedGroups(ids[0]!)).toEqual(remoteGroups(ids[0]!))
  const since = (await reads()).filter(({ id }) => !before.has(id))
  expect(new Set(since.map(({ person }) => person))).toEqual(new Set([ids[0]]))
  expect(since.length).toBeGreaterThanOrEqual(2)
  const causes = new Set((await listResyncs(db, 99)).map(({ mode, cause }) => `${mode} ${cause}`))
  expect(causes).toEqual(new Set(['delta notified']))
})

test('where no schedule asks, whom a change concerned is read once more minutes later all the same', async () => {
  const { world, ids, tenant } = await given(1)
  const { db, simulator } = world
  simulator.lag.hold()
  tenant.removeMember(remoteGroups(ids[0]!)[0]!, ids[0]!)
  await askedAbout(world)
  await vi.waitFor(async () => expect(await db.$client`select from delta_hints`).toHaveLength(1), 20_000)
  await askedAbout(world)
  expect(await storedGroups(ids[0]!)).toHaveLength(1)
  simulator.lag.catchUp()
  await minutesPass(db)
  expect(await db.$client`select from delta_hints where due_at <= now()`).toHaveLength(1)
  await db.$client`update subscriptions set asked_at = asked_at - interval '5 minutes'`
  await vi.waitFor(async () => expect(await storedGroups(ids[0]!)).toEqual([]), 20_000)
  await vi.waitFor(async () => expect(await db.$client`select from delta_hints`).toEqual([]), 20_000)
})

test('notifications that come twice, late or not at all take nothing away, and lost ones are found with the next', async () => {
  const { world, ids, tenant } = await given(2)
  const { notifications } = world.simulator
  const group = tenant.addGroup({ displayName: 'New', kind: 'security' }).id
  await askedAbout(world)
  notifications.drop()
  tenant.addMember(group, ids[0]!)
  await notifications.idle()
  notifications.drop(0)
  notifications.set({ copies: 3 })
  tenant.addMember(group, ids[1]!)
  for (const id of ids)
    await vi.waitFor(async () => expect(await storedGroups(id)).toEqual(remoteGroups(id).toSorted()), 20_000)
  expect(await storedGroups(ids[0]!)).toContain(group)
})

test('however many notifications come, changes are asked about once in ten seconds', async () => {
  const world = await open()
  await world.startWorkers({
    ...attentive(world, { rhythm: { askEvery: 3600 } }),
  })
  await subscribed(world)
  const { db, simulator } = world
  await vi.waitFor(async () => expect(await listResyncs(db, 9)).toHaveLength(1), 20_000)
  for (let index = 0; index < 20; index += 1) {
    simulator.tenant.addGroup({ displayName: `Group ${index}`, kind: 'security' })
    await simulator.notifications.idle()
  }
  const rows = await db.$client`select changed_at > asked_at as waits from subscriptions`
  expect([rows, defaultRhythm.askEvery]).toEqual([[{ waits: true }], 10])
  expect(await listResyncs(db, 9)).toHaveLength(1)
})

test('of all workers one asks, what it died over another asks, and what is told of meanwhile is asked about again', async () => {
  const world = await open()
  const workers = await world.startWorkers(attentive(world, { rhythm: { askEvery: 3600 } }))
  const { id: subscriptionId } = await subscribed(world)
  const { db } = world
  await vi.waitFor(async () => expect(await listResyncs(db, 9)).toHaveLength(1), 20_000)
  await workers.stop()
  await db.$client`update subscriptions set asked_at = null, changed_at = null`
  const tell = async () => {
    const about = { source: 'entra-id', subscriptionId }
    await noteChanges(db, about, { changed: true, reauthorize: false, removed: false })
  }
  const waits = async () =>
    (await db.$client`select from subscriptions where changed_at is not null`).length === 1
  await tell()
  const asking = await Promise.all([0, 1, 2].map(async () => await takeChange(db, 'entra-id', 10)))
  const [first, ...others] = asking.filter((taken) => taken !== undefined)
  expect([others, await waits()]).toEqual([[], true])
  // The one that set out is dead by now; and Graph goes on telling.
  await db.$client`update subscriptions set asked_at = asked_at - interval '11 seconds'`
  const second = await takeChange(db, 'entra-id', 10)
  await tell()
  await settleChange(db, 'entra-id', first!.askedAt)
  await settleChange(db, 'entra-id', second!.askedAt)
  expect(await waits()).toBe(true)
  await db.$client`update subscriptions set asked_at = asked_at - interval '11 seconds'`
  const third = await takeChange(db, 'entra-id', 10)
  await settleChange(db, 'entra-id', third!.askedAt)
  expect(await waits()).toBe(false)
})
