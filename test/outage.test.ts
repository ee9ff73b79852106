import { once } from 'node:events'
import { createConnection, createServer, type Socket } from 'node:net'
import { expect, inject, test } from 'vitest'
import { signIn } from '../src/embedded/browser.ts'
import { openLoginProducer } from '../src/index.ts'
import { givenWorld } from './support/people.ts'

const { open, storedGroups, remoteGroups, signedIn, personIn, followRuns } = givenWorld()

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
  for (const person of people) await signIn(url, config.sources[0]!.slug, person.userPrincipalName)
  expect(await db.$client`select enqueued_at from login_events`).toEqual(
    people.map(() => ({ enqueued_at: null })),
  )

  const synced = followRuns(people.length)
  const workers = startWorkers({ relay: { intervalMs: 50, notEnqueuedAfter: 0 } })
  tap.open()
  await workers
  await synced.done
  for (const person of people) expect(await storedGroups(person.id)).toEqual(remoteGroups(person.id))
  tap.end()
})

test('a wait that no timer can be set to, or that is no whole number, still enqueues the event', async () => {
  const { context, startWorkers } = await open({ backend: 'postgres' })
  await startWorkers()
  for (const waitUpToMs of [2 ** 31, Number.POSITIVE_INFINITY]) {
    const event = await signedIn(personIn(1))
    expect(await context.loginSucceeded(event, { waitUpToMs })).toMatchObject({ outcome: 'applied' })
  }
  const event = await signedIn(personIn(1))
  expect(await context.loginSucceeded(event, { waitUpToMs: 0.5 })).toMatchObject({
    eventId: expect.any(String),
  })
})

test('a person whose earlier job fails for good while a sign-in waits is told of the run after the sign-in', async () => {
  const { context, simulator, startWorkers } = await open({ backend: 'postgres' })
  const person = personIn(1)
  const first = simulator.faults.next({ on: { path: /\$batch/ }, status: 200, body: {}, delayMs: 300 })
  simulator.faults.next({ on: { path: /\$batch/ }, status: 500 })
  await startWorkers()
  await context.loginSucceeded(await signedIn(person))
  while (first.remaining() > 0) await new Promise((resolve) => setImmediate(resolve))
  expect(await context.loginSucceeded(await signedIn(person), { waitUpToMs: 20_000 })).toMatchObject({
    outcome: 'applied',
  })
})

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

test('a producer whose queue takes connections and says nothing stores the event, and closes all the same', async () => {
  const { environment, db } = await open({ backend: 'postgres' })
  const sockets = new Set<Socket>()
  const silent = createServer((socket) => void sockets.add(socket.on('error', () => undefined)))
  silent.listen(0, '127.0.0.1')
  await once(silent, 'listening')
  const address = silent.address()
  const port = typeof address === 'object' && address ? address.port : 0
  const logins = await openLoginProducer({
    databaseUrl: environment['DATABASE_URL']!,
    queueUrl: `redis://127.0.0.1:${port}`,
    tokenKeys: environment['TOKEN_ENCRYPTION_KEYS']!,
  })
  const event = await signedIn(personIn(1))
  expect(await logins.loginSucceeded(event, { waitUpToMs: 50 })).toMatchObject({ outcome: 'pending' })
  await logins.close()
  expect(await db.$client`select enqueued_at from login_events`).toEqual([{ enqueued_at: null }])
  for (const socket of sockets) socket.destroy()
  silent.close()
})
