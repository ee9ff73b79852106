import { afterEach } from 'vitest'
import { findRunSince } from '../../db/sync-runs.ts'
import type { LoginResult } from '../../src/login/signed-in-user.ts'
import type { Simulator } from '../../src/simulator/index.ts'
import { openWorld, type World, type WorldOptions } from './world.ts'

/** A world a test opens for itself, closed after it, and what tests do with the people in it. */
export function givenWorld() {
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
  async function signedIn(
    objectId: string,
    tokensOf = objectId,
    from: Pick<Simulator, 'signIn'> = world.simulator,
  ) {
    const tokens = await from.signIn(tokensOf)
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

  /** How the run after a sign-in ended, however long that takes on a busy machine. */
  async function login(objectId: string, tokensOf?: string): Promise<LoginResult> {
    const event = await signedIn(objectId, tokensOf)
    const result = await world.context.loginSucceeded(event, { waitUpToMs: 20_000 })
    if (result.outcome !== 'pending') return result
    const [stored] = await world.db.$client<{ userId: string; receivedAt: string }[]>`
      select user_id as "userId", received_at as "receivedAt" from login_events where id = ${result.eventId}`
    for (;;) {
      const run = await findRunSince(world.db, stored!.userId, stored!.receivedAt)
      if (run && !run.retried) return { eventId: result.eventId, outcome: run.outcome, runId: run.id }
      await new Promise((resolve) => setImmediate(resolve))
    }
  }

  function personIn(count: number): string {
    const { tenant } = world.simulator
    const person = tenant.addUser({ displayName: 'Ada' })
    for (let index = 0; index < count; index += 1) {
      tenant.addMember(tenant.addGroup({ displayName: `Group ${index}`, kind: 'security' }).id, person.id)
    }
    return person.id
  }

  /**
   * `done` resolves when so many more jobs have completed than had when it was `listening`. It looks from time to time as
   * well: with the queue in Postgres an event can be missed, since their ids are not committed in their order.
   */
  function followRuns(count: number): { listening: Promise<unknown>; done: Promise<void> } {
    const { backend } = world.context
    const events = backend.openEvents('sync')
    const queue = backend.openQueue('sync')
    const completed = async () => await queue.getJobCountByTypes('completed')
    const listening = events.waitUntilReady().then(completed)
    const done = new Promise<void>((resolve) => {
      const look = async () => {
        if ((await completed()) < (await listening) + count) return
        clearInterval(looking)
        resolve()
      }
      const looking = setInterval(() => void look(), 500)
      events.on('completed', () => void look())
    })
    return { listening, done }
  }

  return { open, storedGroups, remoteGroups, signedIn, login, personIn, followRuns }
}
