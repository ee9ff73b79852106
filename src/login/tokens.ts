import type { Database } from '../../db/client.ts'
import { findTokens, replaceTokens, withRefreshLock } from '../../db/delegated-tokens.ts'
import { TokenRejected } from '../errors.ts'
import { tokenBinding } from './login-succeeded.ts'
import type { Vault } from './vault.ts'

export type RenewedTokenSet = {
  accessToken: string
  /** Entra sends a new one with each use; undefined means the old one goes on. */
  refreshToken: string | undefined
  lifetimeSeconds: number
  scopes: readonly string[]
}

export type TokenOwner = { userId: string; tenantId: string; objectId: string; source: string }

/**
 * A Graph token of that user that lives for at least another minute. `refused` is one that Graph has just answered 401:
 * it isn't given again.
 */
export type AccessTokenOf = (owner: TokenOwner, options?: { refused?: string }) => Promise<string>

/** Milliseconds of life below which a token is renewed before it is used. */
const renewBelowMs = 60_000

/**
 * Gives the stored access token, or renews it with the refresh token, one renewal a user at a time across processes.
 * The returned function throws {@link TokenRejected} where only a new sign-in helps: none stored, expired without a
 * refresh token (`offline_access` was not granted), or Entra refuses the refresh token.
 */
export function createAccessTokenOf(parts: {
  db: Database
  vault: Vault
  /** Redeems a refresh token at Entra. */
  renew: (refreshToken: string) => Promise<RenewedTokenSet>
}): AccessTokenOf {
  const { db, vault, renew } = parts
  const current = async (owner: TokenOwner, refused: string | undefined) => {
    const stored = await findTokens(db, owner.userId, owner.source)
    if (!stored)
      throw new TokenRejected('token_missing', 'no tokens are stored for this user', {
        code: 'token_missing',
      })
    const tokens = await vault.unseal(stored.sealed, tokenBinding(owner.tenantId, owner.objectId))
    const usable = stored.livesMs > 0 && tokens.accessToken !== refused
    return { ...tokens, sealed: stored.sealed, usable, fresh: usable && stored.livesMs > renewBelowMs }
  }
  return async (owner, { refused } = {}) => {
    const first = await current(owner, refused)
    if (first.fresh) return first.accessToken
    return await withRefreshLock(db, owner.userId, owner.source, async () => {
      const tokens = await current(owner, refused)
      if (tokens.fresh) return tokens.accessToken
      if (tokens.refreshToken === undefined) {
        if (tokens.usable) return tokens.accessToken
        throw new TokenRejected('no_refresh_token', 'the access token is spent and there is no refresh token')
      }
      const renewed = await renew(tokens.refreshToken)
      const { accessToken, refreshToken = tokens.refreshToken } = renewed
      const sealed = await vault.seal(
        { accessToken, refreshToken },
        tokenBinding(owner.tenantId, owner.objectId),
      )
      await replaceTokens(db, owner.userId, owner.source, tokens.sealed, {
        sealed: sealed.text,
        keyId: sealed.keyId,
        lifetimeSeconds: renewed.lifetimeSeconds,
        scopes: renewed.scopes,
      })
      return accessToken
    })
  }
}
