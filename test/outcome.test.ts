import { DelayedError, UnrecoverableError } from 'bullmq'
import { expect, test } from 'vitest'
import { GraphUnavailable, SyncError, Throttled, type ErrorCode } from '../src/errors.ts'
import type { JobWait, SyncUserJob } from '../src/queue/catalogue.ts'
import { toJobError, waitOf } from '../workers/outcome.ts'

const job = (more: Partial<SyncUserJob> = {}, attemptsMade = 0, progress: unknown = 0) => {
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
    progress,
    readData: async (): Promise<SyncUserJob | undefined> => asked.data,
    updateProgress: async (told: JobWait) => void (asked.progress = told),
    moveToDelayed: async (timestamp: number) => void delays.push(timestamp),
    comeForward: async () => void delays.push(0),
  }
  return asked
}

/** A resync's job that a sign-in makes its own before the worker looks at it again. */
const takenOver = (attemptsMade = 0) => {
  const wait = {
    attempt: attemptsMade,
    cause: 'resync',
    source: 'entra-id',
    since: 1,
    slot: { at: 1, generation: 1 },
  }
  const asked = job({ cause: 'resync' }, attemptsMade, wait)
  asked.readData = async () => ({ ...asked.data, cause: 'login' })
  return asked
}

/** What becomes of a job that ends in each error; not taken from the product, so that a changed decision shows here. */
const expected: Record<ErrorCode, 'tried again' | 'failed for good' | 'put off'> = {
  token_rejected: 'failed for good',
  token_missing: 'failed for good',
  token_unreadable: 'failed for good',
  access_denied: 'failed for good',
  sign_in_denied: 'failed for good',
  throttled: 'put off',
  throttled_too_long: 'failed for good',
  graph_unavailable: 'tried again',
  answer_too_large: 'failed for good',
  unexpected_response: 'failed for good',
  wrong_user: 'failed for good',
  wrong_tenant: 'failed for good',
  source_unknown: 'failed for good',
  group_sync_off: 'failed for good',
  user_unknown: 'failed for good',
  database_failed: 'tried again',
  queue_unavailable: 'tried again',
  invalid_job: 'failed for good',
  invalid_login_event: 'failed for good',
  run_not_held: 'failed for good',
  config_invalid: 'failed for good',
  internal: 'tried again',
}

test.for(Object.entries(expected) as [ErrorCode, string][])(
  'a job that ends in the error %s is %s',
  async ([code, fate]) => {
    const error = code === 'throttled' ? new Throttled(5000, 'pause') : new SyncError(code, 'what happened')
    const asked = job()
    const thrown = await toJobError(error, asked, 'token')
    expect(thrown instanceof UnrecoverableError).toBe(fate === 'failed for good')
    expect(thrown instanceof DelayedError).toBe(fate === 'put off')
    expect(asked.delays).toHaveLength(fate === 'put off' ? 1 : 0)
    expect(thrown.message).toMatch(
      fate === 'put off' ? /movedToDelayed/ : new RegExp(`^${code}: what happened$`),
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
  expect(waitOf(asked)).toEqual({ ...first, slot: { at: 9, generation: 3 } })
})

test('a later attempt neither has the turn of the one before nor has waited yet', async () => {
  const wait = { attempt: 0, cause: 'login', source: 'entra-id', since: 1, slot: { at: 1, generation: 1 } }
  expect(waitOf(job({}, 0, wait))).toEqual(wait)
  const later = job({}, 1, wait)
  expect(waitOf(later)).toBeUndefined()
  await toJobError(new Throttled(5000, 'pause'), later, 'token')
  expect(later.progress).toMatchObject({ attempt: 1 })
  expect(waitOf(later)?.since).toBeGreaterThan(1)
  expect(waitOf(later)).not.toHaveProperty('slot')
})

test('a sign-in has neither the turn nor the hour of the resync whose job it took over', () => {
  const { progress } = takenOver()
  expect(waitOf(job({ cause: 'resync' }, 0, progress))).toEqual(progress)
  expect(waitOf(job({ cause: 'login' }, 0, progress))).toBeUndefined()
})

test('a sign-in through another source has neither the turn nor the hour of the job that it took over', () => {
  const { progress } = takenOver()
  expect(waitOf(job({ cause: 'resync', source: 'other' }, 0, progress))).toBeUndefined()
})

test('a job of another source that a sign-in took over comes back at once, and one of its own source does not', async () => {
  const asked = job()
  const begun = Date.now()
  await toJobError(new Throttled(60_000, 'pause'), asked, 'token')
  asked.readData = async () => ({ ...asked.data, source: 'other' })
  expect(await toJobError(new GraphUnavailable('no answer'), asked, 'token')).toBeInstanceOf(DelayedError)
  expect(asked.delays[0]).toBeGreaterThanOrEqual(begun + 60_000)
  expect(asked.delays[1]).toBeLessThan(begun + 30_000)
})

test.for([
  ['was to wait for its turn', new Throttled(60_000, 'pause', { slot: { at: 9, generation: 3 } })],
  ['had no turn for an hour', new SyncError('throttled_too_long', 'no turn')],
  ['was to be tried again', new GraphUnavailable('no answer')],
] as const)(
  'a resync that %s comes back at once where a sign-in took it over meanwhile',
  async ([, error]) => {
    const asked = takenOver()
    const begun = Date.now()
    expect(await toJobError(error, asked, 'token')).toBeInstanceOf(DelayedError)
    expect(asked.delays[0]).toBeLessThan(begun + 30_000)
  },
)

test('what a sign-in would meet too is not put off where it took a resync over', async () => {
  const failed = await toJobError(new SyncError('wrong_user', 'another'), takenOver(), 'token')
  expect(failed).toBeInstanceOf(UnrecoverableError)
})

test('a queue that can not say whether a job was taken over leaves the decision as it is', async () => {
  const asked = takenOver()
  asked.readData = async () => await Promise.reject(new Error('connection lost'))
  const thrown = await toJobError(new GraphUnavailable('no answer'), asked, 'token')
  expect(thrown.message).toBe('graph_unavailable: no answer')
})
