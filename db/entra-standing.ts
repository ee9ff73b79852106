import type { Database } from './client.ts'

/** What Entra says of an account, as read with a token of the app: disabled or gone, or not. */
export type Standing = {
  enabled: boolean
  /** Also where the guard holds the removals of the same read. That somebody is gone is held with them. */
  evenIfHeld: boolean
}

type StandingRead = { standing?: Standing | undefined; beganAt: string }

/**
 * Further columns of `users` to set, in the statement that stores the read: so its run settles this too, and the newest read
 * has the last word. Who has signed in since was let in, whatever an older read says; what somebody here has decided stays.
 */
export function standingOf(db: Database, { standing, beganAt }: StandingRead, { held = false } = {}) {
  const sql = db.$client
  if (!standing || (held && !standing.evenIfHeld)) return sql``
  if (standing.enabled)
    return sql`, enabled = enabled or disabled_by = 'entra', disabled_by = nullif(disabled_by, 'entra')`
  const isOut = sql`disabled_by is null and (last_login_at is null or last_login_at < ${beganAt}::timestamptz)`
  return sql`, enabled = enabled and not (${isOut}), disabled_by = case when ${isOut} then 'entra' else disabled_by end`
}

/** A part of a statement, after its part `stored` has returned `id` and `enabled`: who was disabled is signed out everywhere. */
export function signingOut(db: Database, { standing }: StandingRead, stored: 'touched' | 'settled') {
  const sql = db.$client
  if (!standing || standing.enabled) return sql``
  return sql`, signed_out as (
      delete from sessions where user_id in (select id from ${sql(stored)} where not enabled)
    )`
}
