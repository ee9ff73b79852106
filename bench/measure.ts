/** Milliseconds of one call. */
export async function millisecondsOf(work: () => PromiseLike<unknown>): Promise<number> {
  const start = performance.now()
  await work()
  return performance.now() - start
}

/** Times by name, so that what is compared can be measured turn by turn under the same noise. */
export type Times = { add: (name: string, ms: number) => void; median: (name: string) => number }

export function openTimes(): Times {
  const times = new Map<string, number[]>()
  return {
    add: (name, ms) => {
      const known = times.get(name)
      if (known) known.push(ms)
      else times.set(name, [ms])
    },
    median: (name) => median(times.get(name) ?? []),
  }
}

export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b)
  const middle = sorted.length >> 1
  const upper = sorted[middle] ?? Number.NaN
  return sorted.length % 2 === 1 ? upper : (upper + (sorted[middle - 1] ?? Number.NaN)) / 2
}
