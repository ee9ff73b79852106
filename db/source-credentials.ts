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

/**
 * Makes the credentials of a source those it is configured with: new ones are added, others go. What processes have learnt
 * of the rest stays, as a starting one knows nothing; one that ends at another time than before is another one.
 */
export async function registerCredentials(
  db: Database,
  source: string,
  credentials: readonly Pick<StoredCredential, 'credential' | 'kind' | 'inUse' | 'expiresAt'>[],
): Promise<void> {
  const sql = db.$client
  await sql`
    with told as (
      select * from json_to_recordset(${JSON.stringify(credentials)}::text::json)
        as c(credential text, kind text, "inUse" boolean, "expiresAt" timestamptz)
    ), gone as (
      delete from source_credentials where source = ${source} and credential not in (select credential from told)
    )
    insert into source_credentials as s (source, credential, kind, in_use, expires_at)
    select ${source}, credential, kind, "inUse" and not exists (
        select from source_credentials k where k.source = ${source} and k.in_use
          and k.credential in (select credential from told)
      ), "expiresAt"
    from told
    on conflict (source, credential) do update set
      kind = excluded.kind, expires_at = excluded.expires_at,
      refused_with = case when s.expires_at is distinct from excluded.expires_at then null else s.refused_with end,
      refused_at = case when s.expires_at is distinct from excluded.expires_at then null else s.refused_at end`
}

/**
 * Writes down what a process has learnt from Entra. It adds and removes none: a process of an older configuration, which
 * still runs beside those of the newer one, has no say in that.
 */
export async function recordCredentials(
  db: Database,
  source: string,
  credentials: readonly Pick<StoredCredential, 'credential' | 'inUse' | 'refusedWith' | 'refusedAt'>[],
): Promise<void> {
  const sql = db.$client
  await sql`
    update source_credentials s set
      in_use = "inUse", refused_with = "refusedWith", refused_at = "refusedAt", updated_at = clock_timestamp()
    from json_to_recordset(${JSON.stringify(credentials)}::text::json)
      as c(credential text, "inUse" boolean, "refusedWith" text, "refusedAt" timestamptz)
    where s.source = ${source} and s.credential = c.credential`
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
