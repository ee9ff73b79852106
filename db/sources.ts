import type { Database } from './client.ts'

export type RegisteredSource = { slug: string; name: string; tenantId: string; clientId: string }

/**
 * Writes the configured source down, so that runs and pages can name it; writes nothing if it is the same as before. What
 * another tenant told of changes goes.
 */
export async function registerSource(db: Database, source: RegisteredSource): Promise<void> {
  const sql = db.$client
  await sql`
    with other as (
      delete from delta_links where source in (
        select slug from sources where slug = ${source.slug} and tenant_id <> ${source.tenantId})
    )
    insert into sources as s (slug, name, tenant_id, client_id)
    values (${source.slug}, ${source.name}, ${source.tenantId}, ${source.clientId})
    on conflict (slug) do update set
      name = excluded.name, tenant_id = excluded.tenant_id, client_id = excluded.client_id, updated_at = now()
    where (s.name, s.tenant_id, s.client_id) is distinct from (excluded.name, excluded.tenant_id, excluded.client_id)`
}
