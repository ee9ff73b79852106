import type { Database } from './client.ts'
import { transaction } from './transaction.ts'

export type LearntCredential = {
  credential: string
  fingerprint: string
  inUse: boolean
  /** By this process: what others have learnt of it is left alone otherwise. */
  asked: boolean
  /** Entra's code. */
  refusedWith: string | null
  /** ISO 8601. */
  refusedAt: string | null
}

export type StoredCredential = Omit<LearntCredential, 'asked'> & { source: string }

/**
 * Writes down what a process has learnt from Entra of its credentials. Those of other configurations are left alone, and
 * go when nobody has told of them for a month. One process at a time: two that list the same in another order would wait for
 * each other.
 */
export async function recordCredentials(
  db: Database,
  source: string,
  credentials: readonly LearntCredential[],
): Promise<void> {
  await transaction(db, async (sql) => {
    await sql`select pg_advisory_xact_lock(hashtextextended(${`credentials ${source}`}, 0))`
    await sql`
      delete from source_credentials where source = ${source} and updated_at < clock_timestamp() - interval '30 days'`
    await sql`
      insert into source_credentials as s (source, credential, fingerprint, in_use, refused_with, refused_at)
      select ${source}, credential, fingerprint, "inUse", "refusedWith", "refusedAt"
      from json_to_recordset(${JSON.stringify(credentials)}::text::json)
        as c(credential text, fingerprint text, "inUse" boolean, "refusedWith" text, "refusedAt" timestamptz, asked boolean)
      where asked
      on conflict (source, credential, fingerprint) do update set
        in_use = excluded.in_use, refused_with = excluded.refused_with, refused_at = excluded.refused_at,
        updated_at = clock_timestamp()`
    await sql`
      update source_credentials s set in_use = "inUse"
      from json_to_recordset(${JSON.stringify(credentials)}::text::json)
        as c(credential text, fingerprint text, "inUse" boolean, asked boolean)
      where not asked and s.source = ${source} and s.credential = c.credential and s.fingerprint = c.fingerprint`
  })
}

/** What is known of credentials of all sources and configurations, what was told last first. */
export async function listCredentials(db: Database): Promise<StoredCredential[]> {
  const sql = db.$client
  return await sql<StoredCredential[]>`
    select source, credential, fingerprint, in_use as "inUse", refused_with as "refusedWith",
      to_json(refused_at) #>> '{}' as "refusedAt"
    from source_credentials order by updated_at desc, credential`
}

export type SourceHealth = {
  source: string
  tenantId: string
  /** People with tokens of the source in that tenant. */
  people: number
  /** Of those, how many tokens came without a permission to read groups. */
  withoutGroupScope: number
}

/** How many people of each tenant signed in through each source, and how many of their tokens read no groups. */
export async function listSourceHealth(db: Database, groupScopes: string): Promise<SourceHealth[]> {
  const sql = db.$client
  return await sql<SourceHealth[]>`
    select t.source, u.tenant_id as "tenantId", count(*)::int as people,
      (count(*) filter (where t.audience = 'graph' and not exists (
        select from unnest(t.scopes) scope where scope ~* ${groupScopes})))::int as "withoutGroupScope"
    from delegated_tokens t join users u on u.id = t.user_id
    group by t.source, u.tenant_id order by t.source, people desc`
}
