import { DelayedError, UnrecoverableError } from 'bullmq'
import { expect, test } from 'vitest'
import { SyncError, Throttled, type ErrorCode } from '../src/errors.ts'
import type { SyncUserJob } from '../src/queue/catalogue.ts'
import { decisions, toJobError, waitOf } from '../workers/outcome.ts'

const job = (more: Partial<SyncUserJob> = {}, attemptsMade = 0) => {
  const delays: number[] = []
  const data: SyncUserJob = {
    userId: '5d6b5e0c-6a3e-4b6e-9a55-0d4e6a5c3b29',
    tenantId: 'tenant',
    source: 'entra-id',
    cause: 'login',
    ...more,
  }
  const asked = {
    delays,
    attemptsMade,
    data,
    readData: async (): Promise<SyncUserJob | undefined> => asked.data,
    updateData: async (changed: SyncUserJob) => void (asked.data = changed),
    moveToDelayed: async (timestamp: number) => void delays.push(timestamp),
  }
  return asked
}

test.for(Object.entries(decisions) as [ErrorCode, string][])(
  'an error of code %s becomes: %s',
  async ([code, decision]) => {
    const error = code === 'throttled' ? new Throttled(5000, 'pause') : new SyncError(code, 'what happened')
    const asked = job()
    const thrown = await toJobError(error, asked, 'token')
    expect(thrown instanceof UnrecoverableError).toBe(decision === 'fail')
    expect(thrown instanceof DelayedError).toBe(decision === 'delay')
    expect(asked.delays).toHaveLength(decision === 'delay' ? 1 : 0)
    expect(thrown.message).toMatch(
      decision === 'delay' ? /movedToDelayed/ : new RegExp(`^${code}: what happened$`),
    )
  },
)

test('what is not ours is tried again, and its text goes nowhere near the board', async () => {
  const thrown = await toJobError(new Error('Bearer eyJ-secret'), job(), 'token')
  expect(thrown).not.toBeInstanceOf(UnrecoverableError)
  expect(`${thrown.message} ${thrown.stack} ${JSON.stringify(thrown)}`).not.toContain('eyJ-secret')
})

test('a promised turn and the beginning of the wait stand in the job, for whichever worker comes next', async () => {
  const asked = job()
  await toJobError(new Throttled(5000, 'pause', { slot: { at: 1, generation: 2 } }), asked, 'token')
  const first = waitOf(asked)
  expect(first).toMatchObject({ attempt: 0, slot: { at: 1, generation: 2 } })
  await toJobError(new Throttled(5000, 'pause', { slot: { at: 9, generation: 3 } }), asked, 'token')
  expect(waitOf(asked)).toEqual({ attempt: 0, since: first?.since, slot: { at: 9, generation: 3 } })
})

test('a later attempt neither has the turn of the one before nor has waited yet', async () => {
  const wait = { attempt: 0, since: 1, slot: { at: 1, generation: 1 } }
  expect(waitOf(job({ wait }, 0))).toEqual(wait)
  const later = job({ wait }, 1)
  expect(waitOf(later)).toBeUndefined()
  await toJobError(new Throttled(5000, 'pause'), later, 'token')
  expect(later.data.wait).toMatchObject({ attempt: 1 })
  expect(later.data.wait?.since).toBeGreaterThan(1)
  expect(later.data.wait).not.toHaveProperty('slot')
})

test('a resync that a sign-in took over while it ran comes back at once, as the sign-in it has become', async () => {
  const asked = job({ cause: 'resync', wait: { attempt: 0, since: 1, slot: { at: 1, generation: 1 } } })
  const loginEventId = '7c1f0a6e-1f5a-4e1c-8a39-0a4f6a5c3b20'
  const taken: SyncUserJob = { ...asked.data, cause: 'login', loginEventId }
  asked.readData = async () => taken
  const begun = Date.now()
  await toJobError(new Throttled(60_000, 'pause', { slot: { at: 9, generation: 3 } }), asked, 'token')
  expect(asked.data).toMatchObject({ cause: 'login', loginEventId, wait: { attempt: 0 } })
  expect(asked.data.wait).not.toHaveProperty('slot')
  expect(asked.data.wait?.since).toBeGreaterThanOrEqual(begun)
  expect(asked.delays[0]).toBeLessThan(begun + 30_000)
})
