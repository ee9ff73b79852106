import { randomUUID } from 'node:crypto'
import { Backoffs, type BackoffOptions } from 'bullmq'
import { afterEach, expect, test, vi } from 'vitest'
import { describeBatch, describeJob, describeStart } from '../src/queue/catalogue.ts'

afterEach(() => void vi.restoreAllMocks())

const ids = { tenantId: 'tenant', source: 'entra-id' }
const kinds = [
  describeJob('sync-user', { ...ids, userId: randomUUID(), cause: 'login' }),
  describeBatch({ ...ids, userIds: [randomUUID()], resyncId: randomUUID() }),
  describeStart({ source: 'entra-id', mode: 'full' }),
]

/** Milliseconds until the next attempt after so many that failed, as the worker works them out. */
function waitAfter(attempts: number, backoff: number | BackoffOptions = 0): number {
  const { type, delay, jitter } = Backoffs.normalize(backoff) ?? { type: 'none' }
  if (type !== 'exponential' && type !== 'fixed') throw new Error('the wait is to be worked out by BullMQ')
  return Number(Backoffs.builtinStrategies[type]?.(delay ?? 0, jitter)(attempts))
}

test.for(kinds)(
  'the wait of $name doubles with each attempt, and is anything from none to all of it',
  ({ opts }) => {
    const random = vi.spyOn(Math, 'random')
    const drawn = (value: number) => {
      random.mockReturnValue(value)
      return [1, 2, 3, 4].map((attempts) => waitAfter(attempts, opts.backoff))
    }
    expect(drawn(0)).toEqual([0, 0, 0, 0])
    expect(drawn(0.5)).toEqual([1000, 2000, 4000, 8000])
    expect(drawn(1 - Number.EPSILON)).toEqual([1999, 3999, 7999, 15_999])
  },
)

test.for(kinds)('jobs of $name that failed together are not tried again together', ({ opts }) => {
  for (const [attempts, most] of [2000, 4000, 8000, 16_000].entries()) {
    const waits = Array.from({ length: 1000 }, () => waitAfter(attempts + 1, opts.backoff))
    expect(Math.min(...waits)).toBeLessThan(most / 10)
    expect(Math.max(...waits)).toBeGreaterThan(most * 0.9)
    expect(Math.max(...waits)).toBeLessThan(most)
    expect(new Set(waits).size).toBeGreaterThan(500)
  }
})
