import type { Database } from './client.ts'

export type StoredCredential = {
  credential: string
  kind: string
  inUse: boolean
  /** ISO 8601, as the next. */
  expiresAt: string | null
  /** Entra's code. */
  refusedWith: string | null
  refusedAt: string | null
}

/** Writes down how a source proves itself by now; credentials it doesn't have any more go. */
export async function recordCredentials(
  db: Database,
  source: string,
  credentials: readonly StoredCredential[],
): Promise<void> {
  const sql = db.$client
  await sql`
    with told as (
      select * from json_to_recordset(${JSON.stringify(credentials)}::text::json)
        as c(credential text, kind text, "inUse" boolean, "expiresAt" timestamptz, "refusedWith" text, "refusedAt" timestamptz)
    ), gone as (
      delete from source_credentials where source = ${source} and credential not in (select credential from told)
    )
    insert into source_credentials as s
      (source, credential, kind, in_use, expires_at, refused_with, refused_at)
    select ${source}, credential, kind, "inUse", "expiresAt", "refusedWith", "refusedAt" from told
    on conflict (source, credential) do update set
      kind = excluded.kind, in_use = excluded.in_use, expires_at = excluded.expires_at,
      refused_with = excluded.refused_with, refused_at = excluded.refused_at, updated_at = clock_timestamp()`
}

/** As the process that asked Entra last has told it. */
export async function listCredentials(
  db: Database,
): Promise<(StoredCredential & { source: string; updatedAt: string })[]> {
  const sql = db.$client
  return await sql<(StoredCredential & { source: string; updatedAt: string })[]>`
    select source, credential, kind, in_use as "inUse", to_json(expires_at) #>> '{}' as "expiresAt",
      refused_with as "refusedWith", to_json(refused_at) #>> '{}' as "refusedAt",
      to_json(updated_at) #>> '{}' as "updatedAt"
    from source_credentials order by source, credential`
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
