import type { ISql } from 'postgres'
import type { Database } from './client.ts'
import { transaction } from './transaction.ts'

export type StoredTokens = {
  sealed: string
  /** Which pair of tokens it is, whatever key seals it. */
  version: string
  keyId: string
  /** Milliseconds of life the access token has left by the database's clock; negative once it has expired. */
  livesMs: number
  scopes: string[]
  audience: 'graph' | 'api'
  state: 'valid' | 'needs_login' | 'denied'
  /** Null where the state is valid. */
  reason: string | null
}

/** The newest tokens of a user for a source, or undefined where none were ever stored. */
export async function findTokens(
  db: Database,
  userId: string,
  source: string,
): Promise<StoredTokens | undefined> {
  return await select(db.$client, userId, source)
}

async function select(sql: ISql, userId: string, source: string): Promise<StoredTokens | undefined> {
  const [row] = await sql<StoredTokens[]>`
    select sealed, version, key_id as "keyId", to_json(scopes) as scopes, audience, state, reason,
      (extract(epoch from expires_at - clock_timestamp()) * 1000)::float8 as "livesMs"
    from delegated_tokens where user_id = ${userId} and source = ${source}`
  return row
}

export type RenewedTokens = {
  sealed: string
  /** A new one: a UUID. */
  version: string
  keyId: string
  lifetimeSeconds: number
  /** Empty where the answer named none: then they are as before (RFC 6749, 5.1). */
  scopes: readonly string[]
}

export type TokenRefusal = {
  state: 'needs_login' | 'denied'
  reason: string
  /** JSON; what the next sign-in has to ask for. */
  claims?: string | undefined
}

/**
 * Stores that tokens were refused, unless a sign-in or a renewal has stored newer ones than the version `old` meanwhile: nothing is
 * known against those.
 */
export async function refuseTokens(
  db: Database,
  userId: string,
  source: string,
  old: string,
  refusal: TokenRefusal,
): Promise<void> {
  await refuse(db.$client, userId, source, old, refusal)
}

/** Entra says of a person's account that it is disabled, or gone (Entra docs: reference-error-codes). */
export const disablingReasons = ['AADSTS50057', 'AADSTS50034']

/**
 * A person whom Entra has disabled is so here too, and signed out, unless a sign-in has stored newer tokens meanwhile; and
 * only where a run since the sign-in has shown whose tokens they are: a flow that reports sign-ins may mix people up. The
 * person's row is locked before the tokens', as a sign-in does it, so that the two can't wait for each other.
 */
async function refuse(sql: ISql, userId: string, source: string, old: string, refusal: TokenRefusal) {
  const disables = disablingReasons.includes(refusal.reason)
  const person = disables
    ? sql`select id from users where id = ${userId} for no key update`
    : sql`select ${userId}::uuid as id`
  await sql`
    with person as materialized (${person}
    ), refused as (
      update delegated_tokens t set
        state = ${refusal.state}, reason = ${refusal.reason}, claims = ${refusal.claims ?? null}
      from person where t.user_id = person.id and t.source = ${source} and t.version = ${old}
      returning t.user_id
    ), disabled as (
      update users set enabled = false, disabled_by = coalesce(disabled_by, 'entra')
      where ${disables} and id in (select user_id from refused) and exists (
        select from sync_runs r where r.user_id = ${userId} and r.source = ${source}
          and r.outcome in ('applied', 'unchanged', 'stale', 'held') and r.started_at >= (
            select max(received_at) from login_events e where e.user_id = ${userId} and e.source = ${source}))
      returning id
    )
    delete from sessions where user_id in (select id from disabled)`
}

async function replace(sql: ISql, userId: string, source: string, old: string, renewed: RenewedTokens) {
  await sql`
    update delegated_tokens set
      sealed = ${renewed.sealed}, version = ${renewed.version}, key_id = ${renewed.keyId},
      scopes = case when ${renewed.scopes.length === 0} then scopes
        else array(select json_array_elements_text(${JSON.stringify(renewed.scopes)}::text::json)) end,
      expires_at = clock_timestamp() + ${renewed.lifetimeSeconds} * interval '1 second',
      state = 'valid', reason = null, claims = null, updated_at = clock_timestamp()
    where user_id = ${userId} and source = ${source} and version = ${old}`
}

/** The tokens of one user and source while nobody else renews them. What is written is committed with the lock's end. */
export type LockedTokens = {
  find: () => Promise<StoredTokens | undefined>
  /**
   * Replaces the tokens that were renewed, unless a sign-in has stored newer ones meanwhile: those win, and the rotated
   * refresh token isn't missed, since Entra doesn't revoke the old one when it is used.
   */
  replace: (old: string, renewed: RenewedTokens) => Promise<void>
  /** As {@link refuseTokens}. */
  refuse: (old: string, refusal: TokenRefusal) => Promise<void>
}

/**
 * Runs `work` in a transaction while no other process does so for this user and source. An advisory lock and not the
 * row's, because a sign-in writes that row and must not wait for a token endpoint. The lock is a transaction's, which
 * PgBouncer in transaction mode keeps on one connection. What `work` throws undoes what it wrote.
 */
export async function withRefreshLock<Result>(
  db: Database,
  userId: string,
  source: string,
  work: (tokens: LockedTokens) => Promise<Result>,
): Promise<Result> {
  const key = `refresh ${userId} ${source}`
  const lock = async (sql: ISql) => {
    await sql`select pg_advisory_xact_lock(hashtextextended(${key}, 0))`
    return await work({
      find: () => select(sql, userId, source),
      replace: (old, renewed) => replace(sql, userId, source, old, renewed),
      refuse: (old, refusal) => refuse(sql, userId, source, old, refusal),
    })
  }
  // Whoever is before may be waiting for Entra.
  return await transaction(db, lock, { limitSeconds: 300 })
}
