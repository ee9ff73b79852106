import type { Database } from './client.ts'
import { standingOf } from './entra-standing.ts'
import type { Read } from './memberships.ts'
import { readAgain, settledAfterSeconds } from './read-again.ts'

/**
 * The user's state after a plan was carried out: where removals were held, it is not synced, and read as before. That groups
 * were read stays known until removals without that permission are agreed to.
 */
export function settleUser(db: Database, read: Read, { held, removes }: { held: boolean; removes: boolean }) {
  return db.$client`
    update users u set snapshot_at = ${read.beganAt},
      membership_digest = case when ${held} or done.skipped then null else ${read.digest} end,
      last_synced_at = case when ${held} then u.last_synced_at else clock_timestamp() end,
      sync_state = ${held ? 'held' : 'synced'},
      frozen_at = case when ${read.run.cause === 'absent'} then case when ${held} then u.frozen_at else clock_timestamp() end end,
      hidden_read = case when ${held} then u.hidden_read else ${read.reach.hidden} end,
      groups_read = case when ${held} or not ${removes} then u.groups_read or ${read.reach.groups}
        else ${read.reach.groups} end${labelling(db, read)}${standingOf(db, read, { held })}
    from ready cross join done where u.id = ready.id returning u.id, u.enabled`
}

/** Further columns of `users` to set; nothing where nothing is told. */
export function labelling(db: Database, { person }: Read) {
  const sql = db.$client
  if (!person) return sql``
  return sql`, user_principal_name = coalesce(${person.userPrincipalName}, user_principal_name),
        display_name = coalesce(${person.displayName}, display_name), mail = coalesce(${person.mail}, mail),
        other_mails = coalesce((select array_agg(told) from json_array_elements_text(
          ${person.otherMails && JSON.stringify(person.otherMails)}::text::json) told), other_mails)`
}

/**
 * Who has joined a group is read once more when Graph's index has settled: that the group, or what it is in, was left may have
 * been told while this read went on, when nobody knew yet whom that concerns.
 */
export function readJoinedAgain({ $client: sql }: Database) {
  return readAgain(
    sql,
    sql`
    select ready.id as user_id, clock_timestamp() as told_at,
      clock_timestamp() + ${settledAfterSeconds} * interval '1 second' as due_at
    from ready cross join done where done.added > 0`,
  )
}
