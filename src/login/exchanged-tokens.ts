import { createHash } from 'node:crypto'
import { TokenRejected } from '../errors.ts'

/** A Graph token got on behalf of a user. */
export type ExchangedToken = {
  accessToken: string
  /** Milliseconds since 1970 by this process's clock. */
  expiresAt: number
}

/** Exchanges a user's token of our own API for one of Graph's, at the user's tenant. */
export type Exchange = (
  assertion: string,
  about: { tenantId: string; claims?: string | undefined },
) => Promise<ExchangedToken>

export type ExchangedTokens = {
  /**
   * The Graph token for an assertion that lives for so many milliseconds; one had before as long as it lives itself.
   * `refused` is one that Graph has just refused.
   * @throws {TokenRejected} `assertion_expired`; see {@link Exchange} for what Entra says.
   */
  for: (
    assertion: string,
    about: { tenantId: string; livesMs: number; refused?: string; claims?: string | undefined },
  ) => Promise<string>
}

/** Milliseconds of life below which a token is exchanged anew. */
const renewBelowMs = 60_000

/**
 * Keeps the Graph tokens in this process's memory only, so that a retry doesn't exchange again; the oldest goes where there
 * are more than `capacity`. The key is a digest: what lives long holds no assertion.
 */
export function createExchangedTokens(exchange: Exchange, capacity = 1000): ExchangedTokens {
  const known = new Map<string, ExchangedToken>()
  return {
    for: async (assertion, { tenantId, livesMs, refused, claims }) => {
      const key = createHash('sha256').update(assertion).digest('base64')
      const earlier = known.get(key)
      if (
        earlier &&
        earlier.accessToken !== refused &&
        claims === undefined &&
        earlier.expiresAt - Date.now() > renewBelowMs
      )
        return earlier.accessToken
      known.delete(key)
      if (livesMs <= 0)
        throw new TokenRejected('assertion_expired', "the stored token of the application's own API is spent")
      const token = await exchange(assertion, { tenantId, claims })
      known.set(key, token)
      const [oldest] = known.keys()
      if (known.size > capacity && oldest !== undefined) known.delete(oldest)
      return token.accessToken
    },
  }
}
