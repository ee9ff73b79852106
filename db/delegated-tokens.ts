import { sql as statement } from 'drizzle-orm'
import type { Database } from './client.ts'

export type StoredTokens = {
  sealed: string
  keyId: string
  /** Milliseconds of life the access token has left by the database's clock; negative once it has expired. */
  livesMs: number
  scopes: string[]
}

/** The newest tokens of a user for a source, or undefined where none were ever stored. */
export async function findTokens(
  db: Database,
  userId: string,
  source: string,
): Promise<StoredTokens | undefined> {
  const sql = db.$client
  const [row] = await sql<StoredTokens[]>`
    select sealed, key_id as "keyId", to_json(scopes) as scopes,
      (extract(epoch from expires_at - clock_timestamp()) * 1000)::float8 as "livesMs"
    from delegated_tokens where user_id = ${userId} and source = ${source}`
  return row
}

export type RenewedTokens = {
  sealed: string
  keyId: string
  lifetimeSeconds: number
  /** Empty where the answer named none: then they are as before (RFC 6749, 5.1). */
  scopes: readonly string[]
}

/**
 * Replaces the tokens that were renewed, unless a sign-in has stored newer ones meanwhile: those win, and the rotated
 * refresh token isn't missed, since Entra doesn't revoke the old one when it is used.
 */
export async function replaceTokens(
  db: Database,
  userId: string,
  source: string,
  old: string,
  renewed: RenewedTokens,
): Promise<void> {
  const sql = db.$client
  await sql`
    update delegated_tokens set
      sealed = ${renewed.sealed}, key_id = ${renewed.keyId},
      scopes = case when ${renewed.scopes.length === 0} then scopes
        else array(select json_array_elements_text(${JSON.stringify(renewed.scopes)}::text::json)) end,
      expires_at = clock_timestamp() + ${renewed.lifetimeSeconds} * interval '1 second', updated_at = clock_timestamp()
    where user_id = ${userId} and source = ${source} and sealed = ${old}`
}

/**
 * Runs `work` while no other process does so for this user and source. An advisory lock and not the row's, because a
 * sign-in writes that row and must not wait for a token endpoint. The lock is a transaction's, which PgBouncer in
 * transaction mode keeps on one connection; `work` runs on others of the pool.
 */
export async function withRefreshLock<Result>(
  db: Database,
  userId: string,
  source: string,
  work: () => Promise<Result>,
): Promise<Result> {
  const key = `refresh ${userId} ${source}`
  return await db.transaction(async (transaction) => {
    await transaction.execute(statement`select pg_advisory_xact_lock(hashtextextended(${key}, 0))`)
    return await work()
  })
}
