import { DelayedError, UnrecoverableError } from 'bullmq'
import { expect, test } from 'vitest'
import { SyncError, Throttled, type ErrorCode } from '../src/errors.ts'
import { decisions, toJobError } from '../workers/outcome.ts'

const job = () => {
  const delays: number[] = []
  return { delays, moveToDelayed: async (timestamp: number) => void delays.push(timestamp) }
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
