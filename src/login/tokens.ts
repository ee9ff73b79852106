import { randomUUID } from 'node:crypto'
import type { Database } from '../../db/client.ts'
import {
  findTokens,
  refuseTokens,
  withRefreshLock,
  type StoredTokens,
  type TokenRefusal,
} from '../../db/delegated-tokens.ts'
import { AccessDenied, SyncError, TokenRejected } from '../errors.ts'
import { mergeClaims } from './claims.ts'
import type { ExchangedTokens } from './exchanged-tokens.ts'
import { tokenBinding } from './login-succeeded.ts'
import type { SealedTokens, Vault } from './vault.ts'

export type RenewedTokenSet = {
  accessToken: string
  /** Entra sends a new one with each use; undefined means the old one goes on. */
  refreshToken: string | undefined
  lifetimeSeconds: number
  scopes: readonly string[]
}

export type TokenOwner = { userId: string; tenantId: string; objectId: string; source: string }

/** A token that Graph has just answered 401, and the claims it asked for where it did: it isn't given again. */
export type RefusedToken = { refused?: string; claims?: string | undefined }

/** The version tells a later refusal which tokens it is about. */
type Given = { accessToken: string; version: string; scopes: readonly string[] }

export type UserTokens = {
  /** A Graph token of that user that lives for at least another minute, if there can be one. */
  accessTokenOf: (owner: TokenOwner, refused?: RefusedToken) => Promise<string>
  /**
   * Runs `use` with such a token; where Graph refuses it, once more with another. `scopes` are those the token was issued
   * with, as far as is known: of an exchanged one, none.
   */
  withAccessToken: <Result>(
    owner: TokenOwner,
    use: (accessToken: string, scopes: readonly string[]) => Promise<Result>,
  ) => Promise<Result>
}

/** Milliseconds of life below which a token is renewed before it is used. */
export const renewBelowMs = 60_000

export type UserTokensParts = {
  db: Database
  vault: Vault
  /** Redeems a refresh token at Entra, in the tenant of the person. */
  renew: (tenantId: string, refreshToken: string, claims?: string) => Promise<RenewedTokenSet>
  /** Gives the Graph token that a token of our own API is exchanged for. */
  exchanged: ExchangedTokens
}

/**
 * Gives the stored access token, or renews it with the refresh token, one renewal a user at a time across processes. Both
 * functions throw {@link TokenRejected} where only a new sign-in helps (none stored, spent without a refresh token, refused
 * by Entra) and {@link AccessDenied} where Entra keeps the person out. What Entra refuses is stored: until the next sign-in
 * the same is thrown without asking again.
 */
export function createUserTokens(parts: UserTokensParts): UserTokens {
  const give = async (owner: TokenOwner, refused: RefusedToken = {}): Promise<Given> => {
    const tokens = await open(parts.vault, owner, await findTokens(parts.db, owner.userId, owner.source))
    if (tokens.audience === 'api') return await exchange(parts, owner, tokens, refused)
    if (isFresh(tokens, refused)) return tokens
    return (await renewed(parts, owner, refused)) ?? (await give(owner, refused))
  }
  return {
    accessTokenOf: async (owner, refused) => (await give(owner, refused)).accessToken,
    withAccessToken: async (owner, use) => {
      const refuse = async ({ version }: Given, refusal: TokenRefusal) =>
        await refuseTokens(parts.db, owner.userId, owner.source, version, refusal)
      const useTheirs = async (given: Given) => {
        try {
          return await use(given.accessToken, given.scopes)
        } catch (error) {
          if (error instanceof SyncError && error.code === 'wrong_user') await refuse(given, notTheirs)
          throw error
        }
      }
      const first = await give(owner)
      try {
        return await useTheirs(first)
      } catch (error) {
        if (!(error instanceof TokenRejected)) throw error
        const second = await give(owner, { refused: first.accessToken, claims: error.claims })
        return await useTheirs(second).catch(async (again: unknown) => {
          // Without a challenge Graph doesn't say why: the next run may be luckier.
          if (again instanceof TokenRejected && again.claims !== undefined)
            await refuse(second, refusalOf(again, {}))
          throw again
        })
      }
    },
  }
}

/** What Entra says of their owner later, that the account is disabled say, must not be held against this person. */
const notTheirs = { state: 'needs_login', reason: 'wrong_user' } as const

type OpenTokens = StoredTokens & SealedTokens

async function open(vault: Vault, owner: TokenOwner, stored: StoredTokens | undefined): Promise<OpenTokens> {
  if (!stored)
    throw new TokenRejected('token_missing', 'no tokens are stored for this user', { code: 'token_missing' })
  const { state, reason } = stored
  const told = `refused earlier (${reason}), and there was no sign-in since`
  if (state === 'denied')
    throw new AccessDenied(told, { code: 'sign_in_denied', reason: reason ?? 'unknown' })
  if (state === 'needs_login') throw new TokenRejected(reason ?? 'unknown', told)
  return { ...stored, ...(await vault.unseal(stored.sealed, tokenBinding(owner.tenantId, owner.objectId))) }
}

const isUsable = (tokens: OpenTokens, { refused }: RefusedToken) =>
  tokens.livesMs > 0 && tokens.accessToken !== refused

const isFresh = (tokens: OpenTokens, refused: RefusedToken) =>
  isUsable(tokens, refused) && tokens.livesMs > renewBelowMs

/** Undefined where by then a token is stored that is to be exchanged. */
async function renewed(
  parts: UserTokensParts,
  owner: TokenOwner,
  refused: RefusedToken,
): Promise<Given | undefined> {
  const { db, vault, renew } = parts
  // A refusal is handed out of the transaction, not thrown: throwing would undo the row that says so.
  const end = await withRefreshLock(db, owner.userId, owner.source, async (locked) => {
    const tokens = await open(vault, owner, await locked.find())
    // A sign-in that came meanwhile may have brought a token that isn't Graph's.
    if (tokens.audience === 'api') return undefined
    if (isFresh(tokens, refused)) return tokens
    if (tokens.refreshToken === undefined) {
      if (isUsable(tokens, refused)) return tokens
      const told = 'the access token is spent and there is no refresh token'
      const error = new TokenRejected('no_refresh_token', told)
      // Graph's plain 401 about a token that should live may be a whim of its own.
      if (tokens.livesMs <= 0 || refused.claims !== undefined)
        await locked.refuse(tokens.version, refusalOf(error, refused))
      return error
    }
    try {
      const set = await renew(owner.tenantId, tokens.refreshToken, refused.claims)
      const { accessToken, refreshToken = tokens.refreshToken } = set
      const binding = tokenBinding(owner.tenantId, owner.objectId)
      const sealed = await vault.seal({ accessToken, refreshToken }, binding)
      const version = randomUUID()
      await locked.replace(tokens.version, { ...set, sealed: sealed.text, keyId: sealed.keyId, version })
      return { accessToken, version, scopes: set.scopes.length > 0 ? set.scopes : tokens.scopes }
    } catch (error) {
      if (!isRefusal(error)) throw error
      await locked.refuse(tokens.version, refusalOf(error, refused))
      return error
    }
  })
  if (end instanceof SyncError) throw end
  return end
}

async function exchange(
  { db, exchanged }: UserTokensParts,
  owner: TokenOwner,
  tokens: OpenTokens,
  refused: RefusedToken,
): Promise<Given> {
  try {
    const about = { ...refused, tenantId: owner.tenantId, livesMs: tokens.livesMs }
    const accessToken = await exchanged.for(tokens.accessToken, about)
    return { accessToken, version: tokens.version, scopes: [] }
  } catch (error) {
    if (isRefusal(error))
      await refuseTokens(db, owner.userId, owner.source, tokens.version, refusalOf(error, refused))
    throw error
  }
}

const isRefusal = (error: unknown): error is TokenRejected | AccessDenied =>
  error instanceof TokenRejected || error instanceof AccessDenied

function refusalOf(error: TokenRejected | AccessDenied, { claims }: RefusedToken): TokenRefusal {
  if (error instanceof AccessDenied)
    return { state: 'denied', reason: error.reason, claims: mergeClaims(claims, error.claims) }
  const reason = claims === undefined ? error.reason : 'insufficient_claims'
  return { state: 'needs_login', reason, claims: mergeClaims(claims, error.claims) }
}
