import type { ISql } from 'postgres'
import type { Database } from './client.ts'

/** Who of a source's people has that object id or user principal name; several where names are not told apart by tenant. */
export async function findPeople(
  db: Database,
  source: string,
  who: string,
): Promise<{ userId: string; tenantId: string }[]> {
  return await db.$client<{ userId: string; tenantId: string }[]>`
    select u.id as "userId", u.tenant_id as "tenantId"
    from users u join delegated_tokens t on t.user_id = u.id and t.source = ${source}
    where u.kind = 'person' and (u.object_id = lower(${who}) or lower(u.user_principal_name) = lower(${who})) limit 2`
}

/**
 * Whether a run `r` settles that a resync waits for a person `w`, whoever asked for it. A run that found no turn for an hour
 * doesn't, nor does one that somebody else asked for and that came to nothing, since it may have used another token. `ofApp`: only
 * the source's app tells who may sign in, and so no run of a person's own token settles what it was to be asked; nor does a
 * `stale` one, whose answer wasn't stored.
 */
export function settles(sql: ISql, resyncId: string, { ofApp = false } = {}) {
  const byApp = ofApp
    ? sql`r.cause = 'resync' and r.outcome <> 'stale' and r.source = (select source from resyncs where id = ${resyncId}::uuid)`
    : sql`true`
  return sql`r.user_id = w.user_id and r.started_at >= w.taken_at and not r.retried
    and r.error_code is distinct from 'throttled_too_long'
    and (r.resync_id = ${resyncId}::uuid or r.outcome not in ('failed', 'denied', 'needs_login')) and ${byApp}`
}
