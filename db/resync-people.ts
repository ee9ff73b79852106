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
    where u.object_id = lower(${who}) or lower(u.user_principal_name) = lower(${who}) limit 2`
}
