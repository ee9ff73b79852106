import type { StoredSigningKey } from '../../db/signing-keys.ts'

type Rows = readonly StoredSigningKey[]

/** Milliseconds for which a list of keys is used without a look at Postgres: a withdrawn key is trusted that much longer. */
const keptMs = 30_000
/** Milliseconds between two looks for a key that isn't known: made-up ids must not become queries. */
const unknownMs = 1000

export type KnownKeysParts = {
  /** Reads them from Postgres. */
  read: () => Promise<Rows>
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
}

/** Keeps the keys for half a minute. Whoever needs them while they are read waits for the same read. */
export function createKnownKeys({ read, now }: KnownKeysParts): KnownKeys {
  let known: { at: number; rows: Rows } | undefined
  let reading: Promise<Rows> | undefined
  /** When the last look began, whatever came of it. */
  let lookedAt = Number.NEGATIVE_INFINITY
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
  }
}
