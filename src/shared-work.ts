/** Work that is done once for all who want it at the same time, by an id. */
export type SharedWork = {
  /** What goes on for this id, or has failed just now. */
  underWay: (id: string) => Promise<void> | undefined
  /** Joins what is under way, or begins. Whoever doesn't wait for it need not hear of its failure either. */
  join: (id: string, work: () => Promise<void>) => Promise<void>
}

/** Ids whose failure is kept in mind; of more, the oldest is forgotten, and tried again sooner. */
const maxKept = 1000

/** For so long after a failure whoever comes gets that failure, and nothing is tried again for them. */
export function createSharedWork({
  restMsAfter,
  now = () => performance.now(),
}: {
  restMsAfter: (error: unknown) => number
  /** Milliseconds by a clock that nobody can put back. */
  now?: () => number
}): SharedWork {
  const going = new Map<string, Promise<void>>()
  const failed = new Map<string, { work: Promise<void>; until: number }>()
  const fail = (id: string, work: Promise<void>, error: unknown) => {
    failed.delete(id)
    failed.set(id, { work, until: now() + restMsAfter(error) })
    const [oldest] = failed.keys()
    if (failed.size > maxKept && oldest !== undefined) failed.delete(oldest)
  }
  const underWay = (id: string) => {
    const rest = failed.get(id)
    return going.get(id) ?? (rest && now() < rest.until ? rest.work : undefined)
  }
  const begin = (id: string, work: () => Promise<void>) => {
    const begun = work()
    going.set(id, begun)
    begun
      .then(
        () => void failed.delete(id),
        (error: unknown) => fail(id, begun, error),
      )
      .finally(() => void going.delete(id))
    return begun
  }
  return { underWay, join: (id, work) => underWay(id) ?? begin(id, work) }
}

/** Has at most so many go on at once; the others wait in the order in which they came. */
export function createLimit(atOnce: number): <Value>(work: () => Promise<Value>) => Promise<Value> {
  let free = atOnce
  const waiting: (() => void)[] = []
  return async (work) => {
    if (free > 0) free -= 1
    else await new Promise<void>((resolve) => void waiting.push(resolve))
    try {
      return await work()
    } finally {
      const next = waiting.shift()
      if (next) next()
      else free += 1
    }
  }
}
