import fc from 'fast-check'
import { expect, test } from 'vitest'
import { paceFor } from '../src/graph/throttle.ts'
import { addUsage, usageOf } from '../src/graph/usage.ts'

const answer = (headers: Record<string, string>, json: unknown = {}) => ({
  status: 200,
  headers: new Headers(headers),
  json,
})

test.for([
  [undefined, 1],
  [0.79, 1],
  [0.8, 1],
  [0.9, 0.975],
  [1, 0.95],
  [1.2, 0.77],
  [1.8, 0.23],
  [50, 0.2],
] as const)('where Graph says that %s of its limit is used, the pace is %s', ([limitShare, pace]) => {
  expect(paceFor(limitShare)).toBeCloseTo(pace, 10)
})

test('the nearer the limit, the slower, and never at a standstill', () => {
  const share = fc.double({ min: 0, max: 100, noNaN: true })
  fc.assert(
    fc.property(share, share, (one, other) => {
      const [less, more] = [Math.min(one, other), Math.max(one, other)]
      expect(paceFor(more)).toBeLessThanOrEqual(paceFor(less))
      expect(paceFor(more)).toBeGreaterThan(0)
    }),
  )
})

test('an answer costs what its header says, and one unit where it says nothing or nonsense', () => {
  expect(usageOf(answer({ 'x-ms-resource-unit': '5' }))).toMatchObject({ units: 5, limitShare: undefined })
  for (const told of ['', '-3', 'many', '1e99', '0'])
    expect(usageOf(answer({ 'x-ms-resource-unit': told })).units).toBe(1)
})

test('no answer costs more than Graph charges for anything', () => {
  for (const told of ['11', '999999']) expect(usageOf(answer({ 'x-ms-resource-unit': told })).units).toBe(10)
})

test('each request of a batch is counted on its own, and the fullest limit is the one that counts', () => {
  const responses = [
    {
      id: 'me',
      status: 200,
      headers: { 'X-Ms-Resource-Unit': '1', 'x-ms-throttle-limit-percentage': '0.85' },
    },
    {
      id: 'groups',
      status: 429,
      headers: { 'x-ms-resource-unit': '2', 'x-ms-throttle-limit-percentage': '1.1' },
    },
    { id: 'other', status: 200 },
  ]
  expect(usageOf(answer({ 'x-ms-throttle-limit-percentage': '0.9' }, { responses }))).toEqual({
    requests: 1,
    units: 4,
    limitShare: 1.1,
  })
})

test('costs add up and the larger share stays', () => {
  expect(
    addUsage({ requests: 1, units: 2, limitShare: undefined }, { requests: 2, units: 3, limitShare: 0.8 }),
  ).toEqual({
    requests: 3,
    units: 5,
    limitShare: 0.8,
  })
  expect(
    addUsage({ requests: 0, units: 0, limitShare: 0.9 }, { requests: 0, units: 1, limitShare: 0.8 })
      .limitShare,
  ).toBe(0.9)
})
