import { createRemoteJWKSet, errors, type FlattenedJWSInput, type JWSHeaderParameters } from 'jose'
import { codeOf } from '../database-failure.ts'

type SigningKey = Awaited<ReturnType<ReturnType<typeof createRemoteJWKSet>>>

/** The keys that an authority publishes, as far as they are known. */
export type KeySet = {
  /** @throws {errors.JWKSNoMatchingKey} where it publishes none for this header. */
  find: (header: JWSHeaderParameters, token: FlattenedJWSInput) => Promise<SigningKey>
  /**
   * Whose tokens the key with this id signs, as the authority says it; Entra writes `{tenantid}` for any tenant. Undefined
   * where it says nothing, empty where there is no such key.
   */
  issuerOf: (kid: string | undefined) => string | undefined
}

/** Milliseconds. */
const rereadAfterMs = 24 * 3_600_000
const timeoutMs = 10_000
/** Milliseconds between two reads for a key that isn't known, and between two tries after one: made-up ids must not become requests. */
const askAgainAfterMs = 60_000
/**
 * Milliseconds after which keys that can't be read anew are not trusted any more. An authority that is out of reach for a
 * day has let nobody sign in anyway: what is left is a token from before, or somebody who keeps us from the news that a key
 * was withdrawn.
 */
const trustedForMs = 48 * 3_600_000

export type OnStale = (code: string) => void

export type KeySetOptions = {
  /** Once for each failed try, while the known keys go on being trusted; with a code of jose or the network, or a name. */
  onStale?: OnStale | undefined
  /** Milliseconds by a clock that nobody can put back. */
  now?: () => number
}

/**
 * Reads the keys at the first use and every 24 hours; and for a key that isn't known at once, since keys are rotated
 * without notice (Entra docs: signing-key-rollover), but not more than once a minute. Keys that can't be read anew are good
 * for another day. jose's own pause begins with the first read and would refuse a key that was published just after it.
 */
export function createKeySet(
  url: URL,
  { onStale, now = () => performance.now() }: KeySetOptions = {},
): KeySet {
  const remote = createRemoteJWKSet(url, {
    cacheMaxAge: Number.POSITIVE_INFINITY,
    cooldownDuration: Number.POSITIVE_INFINITY,
    timeoutDuration: timeoutMs,
  })
  let readAt = Number.NEGATIVE_INFINITY
  /** For an unknown key. A read that fails doesn't count: the next token with an unknown key tries again. */
  let askedAt = Number.NEGATIVE_INFINITY
  /** After 24 hours. */
  let triedAt = Number.NEGATIVE_INFINITY
  let reading: Promise<void> | undefined
  /** The same after 24 hours, for all who wait for it: it never rejects. */
  let rereading: Promise<void> | undefined
  const read = async () => {
    const beganAt = now()
    reading ??= remote
      .reload()
      .then(() => void (readAt = beganAt))
      .finally(() => (reading = undefined))
    await reading
  }
  const readIfOld = async () => {
    const age = now() - readAt
    if (age < rereadAfterMs) return
    if (age >= trustedForMs) return await read()
    if (!rereading) {
      if (!reading && now() - triedAt < askAgainAfterMs) return
      triedAt = now()
      rereading = read()
        .catch((error: unknown) => onStale?.(nameOf(error)))
        .finally(() => (rereading = undefined))
    }
    await rereading
  }
  const readForUnknown = async (error: unknown) => {
    if (reading) return await reading
    if (now() - askedAt < askAgainAfterMs) throw error
    const before = askedAt
    askedAt = now()
    try {
      await read()
    } catch (failure) {
      askedAt = before
      throw failure
    }
  }
  return {
    find: async (header, token) => {
      await readIfOld()
      try {
        return await remote(header, token)
      } catch (error) {
        if (!(error instanceof errors.JWKSNoMatchingKey)) throw error
        await readForUnknown(error)
        return await remote(header, token)
      }
    },
    issuerOf: (kid) => {
      const key = remote.jwks()?.keys.find((each) => each.kid === kid)
      // Withdrawn while a token of it was verified: it is nobody's any more.
      if (!key) return ''
      const issuer: unknown = Reflect.get(key, 'issuer')
      return typeof issuer === 'string' ? issuer : undefined
    },
  }
}

/** fetch keeps the code with the cause; what ends it early has a name and no code. */
function nameOf(error: unknown): string {
  const code = codeOf(error)
  return code === 'unknown' && error instanceof Error ? error.name : code
}
