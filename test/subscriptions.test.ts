import { createHash } from 'node:crypto'
import { describe, expect, test, vi } from 'vitest'
import { loadConfig } from '../src/config.ts'
import { defaultClientId } from '../src/simulator/index.ts'
import { appOnly } from './support/app-only.ts'
import { attentive, givenNotifiedWorld, subscribed } from './support/notified-world.ts'
import { resyncAll } from './support/resyncs.ts'
import type { World } from './support/world.ts'
import { startWorkers } from '../workers/main.ts'

const { open, login, personIn } = givenNotifiedWorld()

const asked = ({ simulator }: World, method: string, path: string | RegExp = /\/subscriptions/) =>
  simulator.requests.all({ path }).filter((request) => request.method === method).length

/** Lets time pass for the subscription: what was to be done by then is due. */
const due = async ({ db }: World) =>
  await db.$client`update subscriptions set renew_at = now() - interval '1 second', try_at = now(),
    renewed_at = renewed_at - interval '1 hour'`

/** Asks Graph for subscriptions as the app itself, as another program with its registration would. */
async function asApp({ simulator }: World, method: string, path: string, body?: object): Promise<Response> {
  const { graphUrl, token } = await appOnly(simulator, ['User.Read.All', 'Group.Read.All'])
  return await fetch(`${graphUrl}/v1.0/subscriptions${path}`, {
    method,
    headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json' },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  })
}

async function given(environment: Record<string, string> = {}) {
  const world = await open(environment)
  const workers = await world.startWorkers(attentive(world))
  return { world, workers, first: await subscribed(world) }
}

test('is of all groups, at the gateway, for almost as long as it may be, and only a hash of its secret is kept', async () => {
  const { world, first } = await given()
  const url = `${world.config.publicUrl}/v1/notifications/entra-id`
  expect(first).toMatchObject({
    changeType: 'deleted,updated',
    resource: 'groups',
    notificationUrl: url,
    lifecycleNotificationUrl: `${url}/lifecycle`,
  })
  const minutes = (Date.parse(first.expirationDateTime) - Date.now()) / 60_000
  expect(minutes).toBeGreaterThan(41_000)
  expect(minutes).toBeLessThan(41_760)
  expect(Buffer.from(first.clientState ?? '', 'base64url')).toHaveLength(32)
  const rows = await world.db.$client<{ row: string; hash: string; early: boolean }[]>`
    select to_json(s)::text as row, client_state_hash as hash,
      renew_at < now() + interval '7 hours' and renew_at > now() as early from subscriptions s`
  expect(rows).toMatchObject([
    { early: true, hash: createHash('sha256').update(first.clientState!).digest('hex') },
  ])
  expect(rows[0]!.row + world.logged.join('')).not.toContain(first.clientState)
})

test('two workers that begin at once make one', async () => {
  const world = await open()
  await Promise.all([0, 1, 2].map(async () => await world.startWorkers(attentive(world))))
  await subscribed(world)
  await resyncAll(world.db, world.source)
  expect([world.simulator.notifications.subscriptions().length, asked(world, 'POST')]).toEqual([1, 1])
})

test('is renewed when it is due, long before its end, by one of all workers', async () => {
  const { world, first } = await given()
  await world.startWorkers(attentive(world))
  await due(world)
  await vi.waitFor(() => expect(asked(world, 'PATCH')).toBe(1), 20_000)
  await resyncAll(world.db, world.source)
  const [renewed] = world.simulator.notifications.subscriptions()
  expect(renewed!.id).toBe(first.id)
  expect(Date.parse(renewed!.expirationDateTime)).toBeGreaterThan(Date.parse(first.expirationDateTime))
  expect([asked(world, 'PATCH'), asked(world, 'POST')]).toEqual([1, 1])
})

test('is made anew where Graph has none of it any more when it is to be renewed', async () => {
  const { world, first } = await given()
  expect((await asApp(world, 'DELETE', `/${first.id}`)).status).toBe(204)
  await due(world)
  const second = await vi.waitUntil(() => world.simulator.notifications.subscriptions()[0], 20_000)
  expect(second.id).not.toBe(first.id)
  expect((await subscribed(world)).id).toBe(second.id)
})

test('is made anew when Graph says that it has been removed', async () => {
  const { world, first } = await given()
  world.simulator.notifications.lifecycle('subscriptionRemoved', first.id)
  const second = await vi.waitUntil(() => world.simulator.notifications.subscriptions()[0], 20_000)
  expect(second.clientState).not.toBe(first.clientState)
  expect((await subscribed(world)).id).toBe(second.id)
})

test('is authorised anew when Graph asks for it, and what was held meanwhile comes', async () => {
  const { world, first } = await given()
  const { notifications, tenant } = world.simulator
  notifications.lifecycle('reauthorizationRequired', first.id)
  await vi.waitFor(() => expect(asked(world, 'POST', /\/reauthorize$/)).toBe(1), 20_000)
  await vi.waitFor(async () => {
    const rows = await world.db.$client`select from subscriptions where reauthorize`
    expect(rows).toEqual([])
  }, 20_000)
  tenant.addGroup({ displayName: 'Told again', kind: 'security' })
  await notifications.idle()
  expect(notifications.attempts().at(-1)).toMatchObject({ subscriptionId: first.id, result: 202 })
  await resyncAll(world.db, world.source)
  expect([asked(world, 'POST', /\/reauthorize$/), asked(world, 'PATCH')]).toEqual([1, 0])
})

test('is not authorised anew within ten minutes of its renewal', async () => {
  const { world, first } = await given()
  await due(world)
  await vi.waitFor(() => expect(asked(world, 'PATCH')).toBe(1), 20_000)
  world.simulator.notifications.lifecycle('reauthorizationRequired', first.id)
  await world.simulator.notifications.idle()
  await resyncAll(world.db, world.source)
  expect(asked(world, 'POST', /\/reauthorize$/)).toBe(0)
  await world.db.$client`update subscriptions set renewed_at = renewed_at - interval '11 minutes'`
  await vi.waitFor(() => expect(asked(world, 'POST', /\/reauthorize$/)).toBe(1), 20_000)
})

describe('is removed', () => {
  const left = async ({ db, simulator }: World) => {
    const rows = await db.$client`select from subscriptions`
    return [rows.length, simulator.notifications.subscriptions().length]
  }
  const gone = async (world: World) =>
    await vi.waitFor(async () => expect(await left(world)).toEqual([0, 0]), 20_000)

  test('where the setting is off, and made again where it is on', async () => {
    const { world, workers, first } = await given()
    await workers.reload(loadConfig({ ...world.environment, RESYNC_NOTIFICATIONS: 'off' }).sources)
    await gone(world)
    await workers.reload(loadConfig(world.environment).sources)
    expect((await subscribed(world)).id).not.toBe(first.id)
  })

  test('where the source is gone from the configuration', async () => {
    const { world, workers } = await given()
    await workers.reload([])
    await gone(world)
    expect(asked(world, 'DELETE')).toBe(1)
  })

  test('by workers that begin with the setting off', async () => {
    const { world, workers } = await given()
    await workers.stop()
    const { source } = world
    const resync = { ...source.resync, notifications: false }
    const parts = { ...world.context, sources: new Map([[source.slug, { ...source, resync }]]) }
    const others = await startWorkers(parts, { concurrency: 1, ...attentive(world) })
    await gone(world)
    expect(asked(world, 'DELETE')).toBe(1)
    await others.stop()
  })

  test('from here once no worker has known its source for long', async () => {
    const world = await open()
    await world.db.$client`
      insert into subscriptions (source, tenant_id, url, tended_at) values
        ('elsewhere', 't', 'https://here.example', now() - interval '5 minutes'),
        ('forgotten', 't', 'https://here.example', now() - interval '11 minutes')`
    await world.startWorkers(attentive(world))
    await vi.waitFor(async () => {
      const rows = await world.db.$client`select source from subscriptions order by 1`
      expect(rows.map(({ source }) => String(source))).toEqual(['elsewhere', 'entra-id'])
    }, 20_000)
  })
})

test('goes to another address when the gateway does', async () => {
  const { world, workers, first } = await given()
  await workers.stop()
  await world.db.$client`update subscriptions set url = 'https://old.example/v1/notifications/entra-id'`
  await world.startWorkers(attentive(world))
  await vi.waitFor(async () => {
    const { id, notificationUrl } = await subscribed(world)
    expect(id).not.toBe(first.id)
    expect(notificationUrl).toBe(first.notificationUrl)
  }, 20_000)
  expect(world.simulator.notifications.subscriptions()).toHaveLength(1)
})

const half = (notificationUrl: string) => ({
  changeType: 'updated,deleted',
  resource: '/groups',
  notificationUrl,
  expirationDateTime: new Date(Date.now() + 3_600_000).toISOString(),
  clientState: 'known to nobody any more',
})

test('one that a worker made and died over gives way to a new one', async () => {
  const world = await open()
  const url = `${world.config.publicUrl}/v1/notifications/entra-id`
  expect((await asApp(world, 'POST', '', half(url))).status).toBe(201)
  await world.startWorkers(attentive(world))
  expect((await subscribed(world)).clientState).not.toBe('known to nobody any more')
  expect(world.simulator.notifications.subscriptions()).toHaveLength(1)
})

test('one of the app that sends elsewhere is left alone, and it is told once', async () => {
  const world = await open()
  const elsewhere = `${world.config.publicUrl}/v1/notifications/another`
  expect((await asApp(world, 'POST', '', half(elsewhere))).status).toBe(201)
  await world.startWorkers(attentive(world))
  const failures = async () => {
    const rows = await world.db.$client<{ failures: number; code: string }[]>`
      select failures, error_code as code from subscriptions`
    return rows[0]
  }
  await vi.waitFor(
    async () => expect(await failures()).toEqual({ failures: 1, code: 'unexpected_response' }),
    20_000,
  )
  await world.db.$client`update subscriptions set try_at = now()`
  await vi.waitFor(async () => expect((await failures())?.failures).toBe(2), 20_000)
  expect(world.logged.filter((line) => /"level":40.*does not tell of changes/.test(line))).toHaveLength(1)
  expect(world.simulator.notifications.subscriptions()).toMatchObject([{ notificationUrl: elsewhere }])
})

test('without its permission is asked for once an hour, is told once, and breaks nothing else', async () => {
  const world = await open()
  const { db, simulator } = world
  simulator.appRoles(defaultClientId, ['User.Read.All', 'GroupMember.Read.All'])
  await world.startWorkers(attentive(world))
  const state = async () => {
    const rows = await db.$client`select error_code as code, failures,
      try_at between now() + interval '50 minutes' and now() + interval '61 minutes' as hourly from subscriptions`
    return rows[0]
  }
  await vi.waitFor(
    async () => expect(await state()).toEqual({ code: 'access_denied', failures: 1, hourly: true }),
    20_000,
  )
  const person = personIn(1)
  await login(person)
  expect(await resyncAll(db, world.source)).toMatchObject({ state: 'done', done: 1, failed: 0, denied: 0 })
  expect(asked(world, 'POST')).toBe(1)
  await db.$client`update subscriptions set try_at = now()`
  await vi.waitFor(async () => expect(await state()).toMatchObject({ failures: 2, hourly: true }), 20_000)
  expect(world.logged.filter((line) => /"level":40.*does not tell of changes/.test(line))).toHaveLength(1)
})

test.for<[string, Record<string, string>]>([
  ['the setting is off', { RESYNC_NOTIFICATIONS: 'off' }],
  ['people are read with tokens of their own', { RESYNC_READ: 'delegated' }],
  ['the gateway is not reached over https', { PUBLIC_URL: 'http://localhost:3000' }],
  ['it is of any tenant', { ENTRA_TENANT_ID: 'organizations', ENTRA_ALLOWED_TENANTS: 'any' }],
])('there is none where %s', async ([, environment]) => {
  const world = await open(environment)
  await world.startWorkers(attentive(world))
  await login(personIn(1))
  await resyncAll(world.db, world.source)
  expect([world.simulator.notifications.subscriptions(), asked(world, 'POST')]).toEqual([[], 0])
  expect(await world.db.$client`select from subscriptions`).toEqual([])
})
