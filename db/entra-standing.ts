import type { Database } from './client.ts'

/**
 * What Entra says of an account, as read with a token of the app: disabled or gone, and then signed out everywhere, or
 * enabled again. What somebody here has decided stays.
 */
export async function setEntraStanding(db: Database, userId: string, enabled: boolean): Promise<void> {
  const sql = db.$client
  if (enabled) {
    await sql`
      update users set enabled = true, disabled_by = null where id = ${userId} and disabled_by = 'entra'`
    return
  }
  await sql`
    with disabled as (
      update users set enabled = false, disabled_by = 'entra' where id = ${userId} and disabled_by is null returning id
    )
    delete from sessions where user_id in (select id from disabled)`
}
