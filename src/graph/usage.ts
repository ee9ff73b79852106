import type { Answer } from './answer.ts'
import { batchAnswer, batchQuestion } from './wire.ts'

/** What answers of Graph have cost. */
export type GraphUsage = {
  /** Round trips: a batch is one. */
  requests: number
  /** Resource units (Graph docs: throttling limits, identity and access). */
  units: number
  /** How much of its limit the tenant uses, 1 = all; told from 0.8 on. The largest that was told. */
  limitShare: number | undefined
}

/**
 * The dearest request costs 5 units, and one that expands or is batched is no multiple of it. A number beyond is a mistake
 * of somebody's, and must not stop the tenant.
 */
const mostUnits = 10

/** Pure. Each request of a batch is counted on its own; where Graph tells no number it is one, the least there is. */
export function usageOf(answer: Answer): GraphUsage {
  const batch = batchAnswer.safeParse(answer.json)
  const told = batch.success ? batch.data.responses.map(({ headers }) => headers) : [answer.headers]
  const units = told.reduce(
    (sum, headers) => sum + Math.min(positive(headers.get('x-ms-resource-unit')) ?? 1, mostUnits),
    0,
  )
  return [answer.headers, ...told].reduce<GraphUsage>(
    (usage, headers) =>
      addUsage(usage, {
        requests: 0,
        units: 0,
        limitShare: positive(headers.get('x-ms-throttle-limit-percentage')),
      }),
    { requests: 1, units, limitShare: undefined },
  )
}

/**
 * Pure. Of an answer whose body couldn't be read, from its headers and what was asked: Graph has done the work, and counts
 * each request of a batch.
 */
export function usageOfUnread(headers: Headers, asked: unknown): GraphUsage {
  const usage = usageOf({ status: 0, headers, json: undefined })
  const batch = batchQuestion.safeParse(asked)
  return { ...usage, units: Math.max(usage.units, batch.success ? batch.data.requests.length : 1) }
}

/** Pure. Both together. */
export function addUsage(one: GraphUsage, other: GraphUsage): GraphUsage {
  const shares = [one.limitShare, other.limitShare].filter((share) => share !== undefined)
  return {
    requests: one.requests + other.requests,
    units: one.units + other.units,
    limitShare: shares.length > 0 ? Math.max(...shares) : undefined,
  }
}

/** A header's number; undefined for what is none or beyond anything Graph would say. */
function positive(text: string | null): number | undefined {
  const number = Number(text ?? Number.NaN)
  return number > 0 && number < 1e6 ? number : undefined
}
