import { once } from 'node:events'
import { createConnection, createServer, type Socket } from 'node:net'
import { afterEach, describe, expect, inject, test } from 'vitest'
import { signIn } from '../src/embedded/browser.ts'
import { availableBackends, openWorld, type World, type WorldOptions } from './support/world.ts'

let world: World

async function open(options: WorldOptions): Promise<World> {
  world = await openWorld(options)
  return world
}

afterEach(() => world.close())

/** What Postgres says the person's groups are, by object id. */
async function storedGroups(objectId: string): Promise<string[]> {
  const rows = await world.db.$client<{ objectId: string }[]>`
    select g.object_id as "objectId" from memberships m join groups g on g.id = m.group_id join users u on u.id = m.user_id
    where u.object_id = ${objectId} and m.origin = 'entra' order by 1`
  return rows.map((row) => row.objectId)
}

const remoteGroups = (objectId: string) => world.simulator.tenant.groupsOf(objectId).map(({ id }) => id)

/** As a sign-in flow hands a person over, with tokens the simulator issued. */
async function signedIn(objectId: string, tokensOf = objectId) {
  const tokens = await world.simulator.signIn(tokensOf)
  return {
    tenantId: world.simulator.tenant.id,
    objectId,
    tokens: {
      accessToken: tokens.access_token,
      refreshToken: tokens.refresh_token,
      expiresAt: Math.floor(Date.now() / 1000) + tokens.expires_in,
      scopes: tokens.scope.split(' '),
    },
  }
}

const login = async (objectId: string, tokensOf?: string) =>
  await world.context.loginSucceeded(await signedIn(objectId, tokensOf), { waitUpToMs: 20_000 })

function personIn(count: number): string {
  const { tenant } = world.simulator
  const person = tenant.addUser({ displayName: 'Ada' })
  for (let index = 0; index < count; index += 1) {
    tenant.addMember(tenant.addGroup({ displayName: `Group ${index}`, kind: 'security' }).id, person.id)
  }
  return person.id
}

describe.each(availableBackends())('with the queue in %s', (backend) => {
  test('a browser signs in, and the memberships Entra knows become rows', async () => {
    const { simulator, startGateway, startWorkers, config } = await open({ backend, seed: { users: 5 } })
    await startWorkers()
    const url = await startGateway()
    for (const person of simulator.tenant.users())
      await signIn(url, config.source.slug, person.userPrincipalName)
    for (const person of simulator.tenant.users()) {
      const { outcome } = await login(person.id)
      expect(['applied', 'unchanged']).toContain(outcome)
      expect(await storedGroups(person.id)).toEqual(remoteGroups(person.id))
    }
  })

  test('a second sign-in without changes is unchanged, and a change at Entra is applied by the next', async () => {
    const { simulator, startWorkers } = await open({ backend })
    await startWorkers()
    const person = personIn(3)
    expect(await login(person)).toMatchObject({ outcome: 'applied' })
    expect(await login(person)).toMatchObject({ outcome: 'unchanged' })
    const [first] = simulator.tenant.groupsOf(person)
    simulator.tenant.removeMember(first!.id, person)
    expect(await login(person)).toMatchObject({ outcome: 'applied' })
    expect(await storedGroups(person)).toEqual(remoteGroups(person))
    expect(await storedGroups(person)).toHaveLength(2)
  })

  test('a person in 2,500 groups gets all of them, and keeps exactly those while page 2 of 3 fails', async () => {
    const { simulator, startWorkers } = await open({ backend })
    await startWorkers()
    const person = personIn(2500)
    expect(await login(person)).toMatchObject({ outcome: 'applied' })
    const before = await storedGroups(person)
    expect(before).toEqual(remoteGroups(person))
    expect(before).toHaveLength(2500)

    simulator.tenant.removeMember(before[0]!, person)
    const fault = simulator.faults.next({ on: { page: 2 }, status: 403, times: Number.POSITIVE_INFINITY })
    expect(await login(person)).toMatchObject({ outcome: 'denied' })
    expect(await storedGroups(person)).toEqual(before)
    fault.clear()
    expect(await login(person)).toMatchObject({ outcome: 'applied' })
    expect(await storedGroups(person)).toEqual(before.slice(1))
  })

  test('a failing Graph is tried again and the run after it applies', async () => {
    const { simulator, startWorkers, db } = await open({ backend })
    await startWorkers()
    const person = personIn(2)
    simulator.faults.next({ on: { path: /\$batch/ }, status: 500, times: 2 })
    expect(await login(person)).toMatchObject({ outcome: 'applied' })
    const runs = await db.$client`select outcome, error_code from sync_runs order by started_at`
    expect(runs.map((run) => [run['outcome'], run['error_code']])).toEqual([
      ['failed', 'graph_unavailable'],
      ['failed', 'graph_unavailable'],
      ['applied', null],
    ])
  })

  test('a throttled job waits as long as Graph says and spends no attempt', async () => {
    const { simulator, startWorkers, context, db } = await open({ backend })
    await startWorkers()
    const person = personIn(2)
    simulator.faults.next({ on: { path: /\$batch/ }, status: 429, headers: { 'Retry-After': '1' }, times: 2 })
    expect(await login(person)).toMatchObject({ outcome: 'applied' })
    const [job] = await context.backend.openQueue('sync').getCompleted()
    expect(job?.attemptsMade).toBe(1)
    expect(await db.$client`select outcome from sync_runs`).toEqual([{ outcome: 'applied' }])
  })

  test('a token of another person applies nothing and the run says why', async () => {
    const { startWorkers, simulator, db } = await open({ backend })
    await startWorkers()
    const person = personIn(2)
    const other = simulator.tenant.addUser({ displayName: 'Eve' })
    expect(await login(other.id, person)).toMatchObject({ outcome: 'failed' })
    expect(await storedGroups(other.id)).toEqual([])
    expect(await db.$client`select outcome, error_code from sync_runs`).toEqual([
      { outcome: 'failed', error_code: 'wrong_user' },
    ])
    const [failed] = await world.context.backend.openQueue('sync').getFailed()
    expect(failed?.failedReason).toBe('wrong_user: the token belongs to another user than the job')
  })

  test('an expired access token is renewed, a revoked person must sign in again and keeps the groups', async () => {
    const { simulator, startWorkers } = await open({ backend })
    await startWorkers()
    const person = personIn(2)
    const event = await signedIn(person)
    const spent = { ...event, tokens: { ...event.tokens, expiresAt: 1 } }
    expect(await world.context.loginSucceeded(spent, { waitUpToMs: 20_000 })).toMatchObject({
      outcome: 'applied',
    })

    simulator.expireAccessTokens()
    expect(await world.context.loginSucceeded(event, { waitUpToMs: 20_000 })).toMatchObject({
      outcome: 'unchanged',
    })

    simulator.revokeUserTokens(person)
    expect(await world.context.loginSucceeded(spent, { waitUpToMs: 20_000 })).toMatchObject({
      outcome: 'needs_login',
    })
    expect(await storedGroups(person)).toEqual(remoteGroups(person))
  })

  test('sign-ins at the same time to the same new groups all end, each with its own memberships', async () => {
    const { simulator, startWorkers } = await open({ backend, seed: { users: 30 } })
    await startWorkers()
    const people = simulator.tenant.users().map(({ id }) => id)
    const ends = await Promise.all(people.map((person) => login(person)))
    expect(ends.filter(({ outcome }) => outcome !== 'applied' && outcome !== 'unchanged')).toEqual([])
    for (const person of people) expect(await storedGroups(person)).toEqual(remoteGroups(person))
  })

  test('no token is in a log line, a job or a run', async () => {
    const { simulator, startWorkers, context, logged, db } = await open({ backend })
    await startWorkers()
    const person = personIn(2)
    await login(person)
    simulator.faults.next({ on: { path: /\$batch/ }, status: 401, times: 2 })
    await login(person)
    const jobs = await context.backend.openQueue('sync').getJobs()
    const rows = await db.$client`
      select (select json_agg(t) from delegated_tokens t)::text, (select json_agg(r) from sync_runs r)::text,
        (select json_agg(e) from login_events e)::text`
    const written = JSON.stringify([logged, jobs.map((job) => job.toJSON()), rows])
    expect(simulator.issuedTokens().length).toBeGreaterThan(2)
    expect(simulator.issuedTokens().filter((token) => written.includes(token))).toEqual([])
  })
})

test('people sign in while Redis is down, and every event is synced when it is back', async () => {
  const redisUrl = inject('redisUrl')
  if (redisUrl === undefined) return
  const tap = await openTap(new URL(redisUrl))
  const { simulator, startWorkers, startGateway, config, db } = await open({
    backend: 'redis',
    queueUrl: tap.url,
    seed: { users: 6 },
  })
  const url = await startGateway()
  tap.close()
  const people = simulator.tenant.users()
  for (const person of people) await signIn(url, config.source.slug, person.userPrincipalName)
  expect(await db.$client`select enqueued_at from login_events`).toEqual(
    people.map(() => ({ enqueued_at: null })),
  )

  const synced = followRuns(people.length)
  const workers = startWorkers({ relay: { intervalMs: 50, notEnqueuedAfter: 0 } })
  tap.open()
  await workers
  await synced
  for (const person of people) expect(await storedGroups(person.id)).toEqual(remoteGroups(person.id))
  tap.end()
})

/** Resolves when so many jobs have completed. */
async function followRuns(count: number): Promise<void> {
  const events = world.context.backend.openEvents('sync')
  let ended = 0
  await new Promise<void>((resolve) => {
    events.on('completed', () => {
      ended += 1
      if (ended === count) resolve()
    })
  })
}

/** A TCP tap before Redis that can be closed, so that connections break and none is let in, and opened again. */
async function openTap(target: URL) {
  const sockets = new Set<Socket>()
  let letIn = true
  const server = createServer((socket) => {
    if (!letIn) {
      socket.destroy()
      return
    }
    const upstream = createConnection(Number(target.port || 6379), target.hostname)
    for (const one of [socket, upstream]) {
      sockets.add(one)
      one.on('error', () => undefined)
      one.on('close', () => sockets.delete(one))
    }
    socket.pipe(upstream).pipe(socket)
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  const address = server.address()
  const cut = () => {
    for (const socket of sockets) socket.destroy()
  }
  return {
    url: `redis://127.0.0.1:${typeof address === 'object' ? address?.port : 0}`,
    close: () => {
      letIn = false
      cut()
    },
    open: () => void (letIn = true),
    end: () => {
      cut()
      server.close()
    },
  }
}
