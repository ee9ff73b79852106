import type { Database } from './client.ts'

/** Why a source can't use what it has of a person's tokens; `elsewhere`: one of the other sources can read the person. */
export type TokensGone = { reason: string; elsewhere: boolean }

/**
 * Undefined where a source's tokens of a person have not been refused, whatever a read with them came to. `others` are
 * sources for which tokens that still work count, `ofApps` those that need none.
 */
export async function findTokensGone(
  db: Database,
  { userId, source }: { userId: string; source: string },
  { others, ofApps }: { others: readonly string[]; ofApps: readonly string[] },
): Promise<TokensGone | undefined> {
  const list = (slugs: readonly string[]) =>
    db.$client`(select json_array_elements_text(${JSON.stringify(slugs)}::text::json))`
  const [row] = await db.$client<TokensGone[]>`
    select coalesce(t.reason, '') as reason, exists (
      select from delegated_tokens o where o.user_id = t.user_id and o.source <> t.source
        and (o.source in ${list(ofApps)} or (o.state = 'valid' and o.source in ${list(others)}))) as elsewhere
    from delegated_tokens t join users u on u.id = t.user_id and u.kind = 'person'
    where t.user_id = ${userId} and t.source = ${source} and t.state <> 'valid'`
  return row
}

/** What is stored of a person is not to be relied on from now on; their next run that ends well takes that back. */
export async function freezeUser(db: Database, userId: string): Promise<void> {
  await db.$client`update users set frozen_at = coalesce(frozen_at, clock_timestamp()) where id = ${userId} and kind = 'person'`
}
