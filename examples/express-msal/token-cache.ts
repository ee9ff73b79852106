import { z } from 'zod'

/** What is needed of MSAL's cache in its serialised form, which is the same in all of its libraries. */
const serialisedCache = z.object({
  RefreshToken: z
    .record(z.string(), z.object({ home_account_id: z.string(), secret: z.string() }))
    .default({}),
})

/**
 * The refresh token of one account. MSAL keeps it to itself: no result has it, the serialised cache does. Asking for the
 * account matters where one cache is shared by all people, as with a `cachePlugin` of your own.
 */
export function refreshTokenIn(serialised: string, homeAccountId: string | undefined): string | undefined {
  const tokens = Object.values(serialisedCache.parse(JSON.parse(serialised)).RefreshToken)
  return tokens.find((token) => token.home_account_id === homeAccountId)?.secret
}
