import { afterEach, describe, expect, test } from 'vitest'
import { changesOf, replay } from './support/reconciled.ts'
import { givenWorld } from './support/people.ts'
import { runScript, type Command } from './support/process.ts'
import { availableBackends, type World } from './support/world.ts'

const { open, signedIn, storedGroups, remoteGroups } = givenWorld()

let workers: Command[] = []

afterEach(async () => {
  for (const { child } of workers) child.kill('SIGKILL')
  await Promise.all(workers.map(({ ended }) => ended))
  workers = []
})

/** A worker in a process of its own, once it takes jobs. */
async function startWorker(world: World): Promise<Command> {
  const worker = runScript('test/support/worker-process.ts', [world.queuePrefix], world.environment)
  workers.push(worker)
  await worker.line(/worker started/)
  return worker
}

async function kill({ child, ended }: Command): Promise<void> {
  child.kill('SIGKILL')
  expect(await ended).toBe('SIGKILL')
}

/** Looks until it is so; what it looks at are other processes, which tell nobody. */
async function until(so: () => Promise<boolean> | boolean): Promise<void> {
  while (!(await so())) await new Promise((resolve) => setImmediate(resolve))
}

/** Resolves when each of these people has been brought to what the tenant says. */
async function untilSynced(people: readonly string[]): Promise<void> {
  for (const person of people)
    await until(async () => (await storedGroups(person)).join() === remoteGroups(person).join())
}

/** How many changes are logged, of which each follows what went before and all lead to what is stored. */
async function changesLogged({ db, simulator }: World): Promise<number> {
  const users = await db.$client<{ userId: string; objectId: string }[]>`
    select id as "userId", object_id as "objectId" from users`
  let logged = 0
  for (const { userId, objectId } of users) {
    const log = await changesOf(db, { userId, tenantId: simulator.tenant.id })
    logged += log.length
    expect(replay(log)).toEqual((await storedGroups(objectId)).toSorted())
  }
  return logged
}

function peopleIn(world: World, count: number, size: number): string[] {
  const { tenant } = world.simulator
  const groups = Array.from({ length: size * 2 }, (_, n) =>
    tenant.addGroup({ displayName: `Group ${n}`, kind: 'security' }),
  )
  return Array.from({ length: count }, (_, n) => {
    const person = tenant.addUser({ displayName: `Person ${n}` })
    for (let at = 0; at < size; at += 1) tenant.addMember(groups[(n * 3 + at) % groups.length]!.id, person.id)
    return person.id
  })
}

describe.each(availableBackends())('with the queue in %s', (backend) => {
  test('a worker killed while it reads leaves everything as it was, and another one does the job', async () => {
    const world = await open({ backend })
    const { simulator, context, db } = world
    const [person = ''] = peopleIn(world, 1, 5)
    const hanging = simulator.faults.next({ on: { path: /\$batch/ }, hang: true })
    const worker = await startWorker(world)
    await context.loginSucceeded(await signedIn(person))
    await until(() => hanging.remaining() === 0)
    await kill(worker)
    expect(await db.$client`select from membership_changes`).toHaveLength(0)
    await startWorker(world)
    await untilSynced([person])
    expect(await changesLogged(world)).toBe(5)
  })

  test('a worker killed while it writes leaves all of the change or nothing, and it is logged once', async () => {
    const world = await open({ backend })
    const { context, db } = world
    const [person = ''] = peopleIn(world, 1, 5)
    const worker = await startWorker(world)
    await db.$client.begin(async (sql) => {
      // Whoever writes memberships has written groups by then and must wait here.
      await sql`lock table memberships in exclusive mode`
      await context.loginSucceeded(await signedIn(person))
      await until(async () => {
        const waiting =
          await db.$client`select from pg_locks where not granted and relation = 'memberships'::regclass`
        return waiting.length > 0
      })
      await kill(worker)
    })
    await startWorker(world)
    await untilSynced([person])
    expect(await changesLogged(world)).toBe(5)
  })

  test('whenever workers are killed, everybody ends as the tenant says and every change is logged exactly once', async () => {
    const world = await open({ backend })
    const { simulator, context, db } = world
    const people = peopleIn(world, 20, 30)
    await db.$client.unsafe(`create function tell() returns trigger language plpgsql as
      'begin perform pg_notify(''run'', new.outcome); return new; end';
      create trigger tell after insert on sync_runs for each row execute function tell()`)
    let runs = 0
    const listening = await db.$client.listen('run', () => (runs += 1))
    const signInAll = async () => {
      for (const person of people) await context.loginSucceeded(await signedIn(person))
    }
    /** Each worker dies right after so many requests or so many committed runs of its own. */
    const killAfter = async (requests: number, committed: number) => {
      const [asked, ended] = [simulator.requests.all().length, runs]
      const worker = await startWorker(world)
      await until(() => simulator.requests.all().length - asked >= requests || runs - ended >= committed)
      await kill(worker)
    }
    await signInAll()
    for (const [requests, committed] of [
      [1, 99],
      [99, 1],
      [5, 99],
    ] as const)
      await killAfter(requests, committed)
    const last = await startWorker(world)
    await untilSynced(people)
    await kill(last)

    let changes = people.length * 30
    for (const [n, person] of people.entries()) {
      const [first, second] = remoteGroups(person)
      if (n % 2 === 0) simulator.tenant.removeMember(first!, person)
      simulator.tenant.removeMember(second!, person)
      changes += n % 2 === 0 ? 2 : 1
    }
    await signInAll()
    for (const committed of [1, 3, 6]) await killAfter(999, committed)
    await startWorker(world)
    await untilSynced(people)
    expect(await changesLogged(world)).toBe(changes)
    await listening.unlisten()
  }, 120_000)
})
