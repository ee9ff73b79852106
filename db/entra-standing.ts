import type { Database } from './client.ts'
import { isNewer } from './snapshot-order.ts'

/**
 * What Entra says of an account, as read with a token of the app since `beganAt`: disabled or gone, and then signed out
 * everywhere, or enabled again. Who has signed in since was let in, whatever an older read says, and where a newer read is
 * stored this one says nothing. What somebody here has decided stays.
 */
export async function setEntraStanding(
  db: Database,
  userId: string,
  { enabled, beganAt }: { enabled: boolean; beganAt: string },
): Promise<void> {
  const sql = db.$client
  if (enabled) {
    await sql`
      update users set enabled = true, disabled_by = null
      where id = ${userId} and disabled_by = 'entra' and not ${isNewer(db, beganAt)}`
    return
  }
  await sql`
    with disabled as (
      update users set enabled = false, disabled_by = 'entra'
      where id = ${userId} and disabled_by is null
        and (last_login_at is null or last_login_at < ${beganAt}::timestamptz) and not ${isNewer(db, beganAt)}
      returning id
    )
    delete from sessions where user_id in (select id from disabled)`
}
