import { randomBytes } from 'node:crypto'

export type Expiring<Value> = {
  /** The new entry's id, which can't be guessed. */
  add: (value: Value) => string
  find: (id: string | undefined) => Value | undefined
  /** Finds it and removes it: the second who asks gets nothing. */
  take: (id: string | undefined) => Value | undefined
}

/** Values in this process's memory, each gone after so many milliseconds. An application of your own has a store for them. */
export function createExpiring<Value>(lifeMs: number): Expiring<Value> {
  const entries = new Map<string, { value: Value; until: number }>()
  const find = (id: string | undefined) => {
    const entry = id === undefined ? undefined : entries.get(id)
    return entry && entry.until > Date.now() ? entry.value : undefined
  }
  return {
    add: (value) => {
      // Oldest first, so that the first one that lives on ends the search.
      for (const [id, { until }] of entries) {
        if (until > Date.now()) break
        entries.delete(id)
      }
      const id = randomBytes(32).toString('base64url')
      entries.set(id, { value, until: Date.now() + lifeMs })
      return id
    },
    find,
    take: (id) => {
      const value = find(id)
      if (id !== undefined) entries.delete(id)
      return value
    },
  }
}
