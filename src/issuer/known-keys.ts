import { isUnreachable } from '../../db/reachable.ts'
import type { StoredSigningKey } from '../../db/signing-keys.ts'

type Rows = readonly StoredSigningKey[]

/** Milliseconds for which a list of keys is used without a look at Postgres: a withdrawn key is trusted that much longer. */
const keptMs = 30_000
/** Milliseconds between two looks for a key that isn't known: made-up ids must not become queries. */
const unknownMs = 1000
/**
 * Milliseconds for which a list is used where Postgres can't be reached, by what may be that old. With the age of copies it
 * stays below the hour for which a key is published before it signs. Those who keep copies ask every five or ten minutes: less
 * would leave a gateway that nobody else asks with a list that is too old already.
 */
const lastingMs = 1_800_000
/** Milliseconds between two looks for that, and until one of them is given up. */
const askAgainMs = 5000
const patienceMs = 2000

export type KnownKeysParts = {
  /** Reads them from Postgres. */
  read: () => Promise<Rows>
  /** Postgres can't be reached, and the last list is used. */
  onLasting: (error: unknown) => void
  /** Milliseconds by a clock that nobody can put back. */
  now: () => number
}

/** The keys as they were read last. */
export type KnownKeys = {
  /** As they are, or were half a minute ago. */
  current: () => Promise<Rows>
  /** The same, read once more where that one isn't among them: another process may have made it just now. */
  withKey: (kid: string) => Promise<Rows>
  /** As they are by a read that begins after this is called. */
  anew: () => Promise<Rows>
  /** As they are, or where Postgres can't be reached within two seconds, were half an hour ago. */
  lasting: () => Promise<Rows>
}

class TooSlow extends Error {
  readonly code = 'NO_ANSWER'
}

/** Keeps the keys for half a minute. Whoever needs them while they are read waits for the same read. */
export function createKnownKeys({ read, onLasting, now }: KnownKeysParts): KnownKeys {
  let known: { at: number; rows: Rows } | undefined
  let reading: Promise<Rows> | undefined
  /** When the last look began, whatever came of it. */
  let lookedAt = Number.NEGATIVE_INFINITY
  /** When Postgres couldn't be reached last. */
  let awayAt = Number.NEGATIVE_INFINITY
  const look = async (): Promise<Rows> => {
    const at = now()
    lookedAt = at
    const rows = await read()
    known = { at, rows }
    return rows
  }
  const shared = async (): Promise<Rows> => await (reading ??= look().finally(() => (reading = undefined)))
  const current = async (): Promise<Rows> =>
    known && now() - known.at < keptMs ? known.rows : await shared()
  return {
    current,
    withKey: async (kid) => {
      const rows = await current()
      if (rows.some((row) => row.kid === kid) || now() - lookedAt < unknownMs) return rows
      return await shared()
    },
    anew: async () => {
      await reading?.catch(() => undefined)
      return await shared()
    },
    lasting: async () => {
      if (!known || now() - known.at >= lastingMs) return await current()
      const { rows } = known
      if (now() - awayAt < askAgainMs) return rows
      try {
        return await inTime(current())
      } catch (error) {
        if (!(error instanceof TooSlow) && !isUnreachable(error)) throw error
        awayAt = now()
        onLasting(error)
        return rows
      }
    },
  }
}

async function inTime<Value>(promised: Promise<Value>): Promise<Value> {
  let timer: NodeJS.Timeout | undefined
  const tooSlow = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(() => reject(new TooSlow('the database does not answer')), patienceMs)
  })
  try {
    return await Promise.race([promised, tooSlow])
  } finally {
    clearTimeout(timer)
  }
}
