import postgres from 'postgres'
import { afterEach, expect, test, vi } from 'vitest'
import { beginResync } from '../src/resync.ts'
import { openCutter } from './support/cuts.ts'
import { runScript } from './support/process.ts'
import { endOf } from './support/resyncs.ts'
import { availableBackends, openWorld } from './support/world.ts'

const closers: (() => Promise<unknown>)[] = []

afterEach(async () => {
  for (const close of closers.splice(0).toReversed()) await close()
})

test(
  'a worker lives through cuts of its connections while it renews tokens and a resync goes on, and everybody ends synced',
  { timeout: 180_000 },
  async () => {
    const backend = availableBackends()[0] ?? 'postgres'
    const world = await openWorld({ backend, seed: { users: 24, groups: 8 } })
    closers.push(async () => await world.close())
    const { simulator, context, db, source, environment } = world
    const cutter = openCutter(environment['DATABASE_URL'] ?? '')
    closers.push(async () => await cutter.close())
    const looker = postgres(environment['DATABASE_URL'] ?? '', {
      max: 1,
      connection: { application_name: 'looker' },
    })
    closers.push(async () => await looker.end())
    const people = simulator.tenant.users().map(({ id }) => id)
    const login = async (objectId: string) => {
      const answer = await simulator.signIn(objectId)
      // Spent, so that each run renews it first.
      const tokens = {
        accessToken: answer.access_token,
        refreshToken: answer.refresh_token,
        expiresAt: 1,
        scopes: answer.scope.split(' '),
      }
      await context.loginSucceeded({ tenantId: simulator.tenant.id, objectId, tokens })
    }
    const worker = runScript('test/support/worker-process.ts', [world.queuePrefix], environment)
    closers.push(async () => {
      worker.child.kill('SIGKILL')
      await worker.ended
    })
    await worker.line(/worker started/)
    for (let cut = 0; cut < 6; cut += 1) {
      // The cut before was of this process too, whose driver refuses a first statement on each connection for it.
      const some = people.slice(cut * 4, cut * 4 + 4)
      for (const person of some) await vi.waitFor(async () => await login(person), { timeout: 20_000 })
      if (cut === 3)
        await vi.waitFor(async () => await beginResync(db, source, { mode: 'full', cause: 'manual' }), {
          timeout: 20_000,
        })
      await vi.waitUntil(
        async () => {
          const { count } = await looker`select from pg_locks l join pg_stat_activity a using (pid)
          where l.locktype = 'advisory' and l.granted and a.datname = current_database()`
          return count > 0 || worker.child.exitCode !== null
        },
        { timeout: 20_000, interval: 2 },
      )
      await cutter.cutAll()
    }
    const unsynced = async () => await looker`select from users where last_synced_at is null`
    await vi.waitUntil(async () => (await unsynced()).count === 0 || worker.child.exitCode !== null, {
      timeout: 60_000,
      interval: 50,
    })
    expect(worker.child.exitCode).toBeNull()
    const [resync] = await looker<{ id: string }[]>`select id from resyncs where mode = 'full'`
    expect(
      await vi.waitFor(async () => await endOf(db, resync?.id ?? ''), { timeout: 60_000 }),
    ).toMatchObject({
      state: 'done',
    })
    expect((await looker`select from users where last_synced_at is not null`).count).toBe(24)
  },
)
