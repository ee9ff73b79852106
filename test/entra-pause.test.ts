import { expect, test } from 'vitest'
import { Throttled } from '../src/errors.ts'
import { syncUser, type SyncAttempt } from '../src/sync.ts'
import { givenWorld } from './support/people.ts'
import type { World } from './support/world.ts'

const { open, login, personIn, signedIn } = givenWorld()

/** A person whose token is spent, so that a run asks Entra first; the job for it. */
async function spent({ context, db, simulator }: World, objectId: string) {
  const event = await signedIn(objectId)
  const expiresAt = Math.floor(Date.now() / 1000) - 1
  await context.loginSucceeded({ ...event, tokens: { ...event.tokens, expiresAt } })
  const [user] = await db.$client<{ id: string }[]>`select id from users where object_id = ${objectId}`
  const userId = user!.id
  return { userId, tenantId: simulator.tenant.id, source: 'entra-id', cause: 'login' as const }
}

const answers = [
  ['a loop', { error: 'invalid_grant', error_codes: [50196] }],
  ['a pause', { error: 'temporarily_unavailable', error_codes: [90055], status: 429, retryAfter: '3600' }],
] as const

test.for(answers)('%s that Entra tells one person stops nobody else at Graph', async ([, answer]) => {
  const world = await open({ backend: 'postgres' })
  const [ada, ben] = [personIn(1), personIn(1)]
  const job = await spent(world, ada)
  world.simulator.faults.tokenError({ ...answer }, { user: ada })
  await expect(syncUser(world.context, job)).rejects.toMatchObject({ code: 'throttled', by: 'entra' })
  expect(await world.budget.state()).toBeUndefined()
  await world.startWorkers()
  expect(await login(ben)).toMatchObject({ outcome: 'applied' })
})

test('who goes on being answered in circles asks less and less often', async () => {
  const world = await open({ backend: 'postgres' })
  const ada = personIn(1)
  const job = await spent(world, ada)
  world.simulator.faults.tokenError({ error: 'invalid_grant', error_codes: [50196] }, { user: ada, times: 9 })
  const waitAfter = async (attempt: SyncAttempt) => {
    const error = await syncUser(world.context, job, attempt).catch((thrown: unknown) => thrown)
    return error instanceof Throttled ? error.retryAfterMs : error
  }
  expect(await waitAfter({})).toBe(30_000)
  expect(await waitAfter({ waitedMs: 120_000 })).toBe(120_000)
  expect(await waitAfter({ waitedMs: 3_000_000 })).toBe(600_000)
  expect(await waitAfter({ waitedMs: 3_600_000 })).toMatchObject({ code: 'throttled_too_long' })
})

test('a read that is there is applied although its cost can not be booked', async () => {
  const world = await open({ backend: 'postgres' })
  const ada = personIn(1)
  await world.context.loginSucceeded(await signedIn(ada))
  const [user] = await world.db.$client<{ id: string }[]>`select id from users`
  const job = {
    userId: user!.id,
    tenantId: world.simulator.tenant.id,
    source: 'entra-id',
    cause: 'login' as const,
  }
  const settle = () => Promise.reject(new Error('the database blinked'))
  const parts = { ...world.context, budget: { ...world.budget, settle } }
  expect(await syncUser(parts, job)).toMatchObject({ outcome: 'applied' })
})
