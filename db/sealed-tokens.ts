import type { Database } from './client.ts'

export type SealedRow = {
  userId: string
  source: string
  tenantId: string
  objectId: string
  sealed: string
  keyId: string
}

/** How many stored tokens are sealed with another key than this one. */
export async function countSealedOtherwise(db: Database, keyId: string): Promise<number> {
  const [row] = await db.$client<{ tokens: number }[]>`
    select count(*)::int as tokens from delegated_tokens where key_id <> ${keyId}`
  return row?.tokens ?? 0
}

/** The next tokens sealed with another key than this one, in the order of the table's key; `after` is the last one seen. */
export async function listSealedOtherwise(
  db: Database,
  keyId: string,
  after: Pick<SealedRow, 'userId' | 'source'> | undefined,
  limit: number,
): Promise<SealedRow[]> {
  const sql = db.$client
  const { userId = '00000000-0000-0000-0000-000000000000', source = '' } = after ?? {}
  return await sql<SealedRow[]>`
    select t.user_id as "userId", t.source, u.tenant_id as "tenantId", u.object_id as "objectId", t.sealed,
      t.key_id as "keyId"
    from delegated_tokens t join users u on u.id = t.user_id
    where t.key_id <> ${keyId} and (t.user_id, t.source) > (${userId}::uuid, ${source})
    order by t.user_id, t.source limit ${limit}`
}

/**
 * Replaces sealed texts by others of the same tokens, those aside that a sign-in or a renewal has replaced meanwhile.
 * Resolves with how many it replaced.
 */
export async function replaceSealed(
  db: Database,
  rows: readonly (SealedRow & { resealed: string })[],
  keyId: string,
): Promise<number> {
  const sql = db.$client
  const { count } = await sql`
    update delegated_tokens t set sealed = r."resealed", key_id = ${keyId}
    from json_to_recordset(${JSON.stringify(rows)}::text::json)
      as r("userId" uuid, source text, sealed text, resealed text)
    where t.user_id = r."userId" and t.source = r.source and t.sealed = r.sealed`
  return count
}
