import type { Database } from './client.ts'

/**
 * `expiring`: the access token is in its last minute or spent, and the next run renews it, or learns that it can't.
 * `needs_login` with the reason `token_unreadable` follows from the keys at hand; it passes when the key is back.
 */
export type TokenState = {
  state: 'valid' | 'expiring' | 'needs_login' | 'denied'
  /** Null where they work. */
  reason: string | null
}

/** What is known of a user's tokens for a source, or undefined where none were ever stored. `keyIds`: those that open. */
export async function findTokenState(
  db: Database,
  userId: string,
  source: string,
  keyIds: readonly string[],
): Promise<TokenState | undefined> {
  const sql = db.$client
  const [row] = await sql<TokenState[]>`
    select state, reason from (${statesOf(db, keyIds)}) as states where user_id = ${userId} and source = ${source}`
  return row
}

/** How many users' tokens are in which state and why, the most first. */
export async function tokenStates(
  db: Database,
  keyIds: readonly string[],
): Promise<(TokenState & { tokens: number })[]> {
  const sql = db.$client
  return await sql<(TokenState & { tokens: number })[]>`
    select state, reason, count(*)::int as tokens from (${statesOf(db, keyIds)}) as states
    group by state, reason order by tokens desc, state, reason`
}

function statesOf(db: Database, keyIds: readonly string[]) {
  const sql = db.$client
  const readable = sql`key_id in (select json_array_elements_text(${JSON.stringify(keyIds)}::text::json))`
  return sql`
    select user_id, source,
      case when state <> 'valid' then state when not ${readable} then 'needs_login'
        when expires_at < clock_timestamp() + interval '1 minute' then 'expiring' else 'valid' end as state,
      case when state <> 'valid' then reason when not ${readable} then 'token_unreadable' end as reason
    from delegated_tokens`
}

/** The claims that a person's next sign-in has to ask for: JSON, as a challenge told them. */
export async function findWantedClaims(
  db: Database,
  tenantId: string,
  objectId: string,
  source: string,
): Promise<string | undefined> {
  const [row] = await db.$client<{ claims: string | null }[]>`
    select t.claims from delegated_tokens t join users u on u.id = t.user_id
    where u.tenant_id = ${tenantId} and u.object_id = ${objectId} and t.source = ${source}`
  return row?.claims ?? undefined
}
