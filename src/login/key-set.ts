import { createRemoteJWKSet, errors, type FlattenedJWSInput, type JWSHeaderParameters } from 'jose'

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
/** Milliseconds between two reads for a key that isn't known: made-up ids must not become requests. */
const askAgainAfterMs = 60_000

/**
 * Reads the keys at the first use and every 24 hours; and for a key that isn't known at once, since keys are rotated
 * without notice (Entra docs: signing-key-rollover), but not more than once a minute. jose's own pause begins with the
 * first read and would refuse a key that was published just after it.
 */
export function createKeySet(url: URL, now: () => number = Date.now): KeySet {
  const remote = createRemoteJWKSet(url, {
    cacheMaxAge: rereadAfterMs,
    cooldownDuration: Number.POSITIVE_INFINITY,
    timeoutDuration: timeoutMs,
  })
  let askedAt = Number.NEGATIVE_INFINITY
  let asking: Promise<void> | undefined
  return {
    find: async (header, token) => {
      try {
        return await remote(header, token)
      } catch (error) {
        if (!(error instanceof errors.JWKSNoMatchingKey)) throw error
        if (!asking && now() - askedAt < askAgainAfterMs) throw error
        if (!asking) {
          const before = askedAt
          askedAt = now()
          asking = reread(remote, () => (askedAt = before)).finally(() => (asking = undefined))
        }
        await asking
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

/** A read that fails doesn't count: the next token with an unknown key tries again. */
async function reread(remote: { reload: () => Promise<void> }, onFailure: () => void): Promise<void> {
  try {
    await remote.reload()
  } catch (error) {
    onFailure()
    throw error
  }
}
