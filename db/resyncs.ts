import type { Database } from './client.ts'

/**
 * Memberships that ended runs of a resync have removed, and those of origin `entra` in groups of the tenant now, which
 * are counted only once `countFrom` are removed: below, it is 0. Runs that haven't ended don't count.
 */
export async function findResyncSoFar(
  db: Database,
  { resyncId, tenantId, countFrom }: { resyncId: string; tenantId: string; countFrom: number },
): Promise<{ removed: number; memberships: number }> {
  const [row] = await db.$client<{ removed: number; memberships: number }[]>`
    with done as materialized (
      select coalesce(sum(removed), 0)::int as removed from sync_runs where resync_id = ${resyncId}
    )
    select removed, case when removed >= ${countFrom} then (
        select count(*) from memberships m join groups g on g.id = m.group_id
        where g.tenant_id = ${tenantId} and m.origin = 'entra'
      ) else 0 end::int as memberships
    from done`
  return row ?? { removed: 0, memberships: 0 }
}
