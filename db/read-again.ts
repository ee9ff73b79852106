import type { ISql, PendingQuery, Row } from 'postgres'

/**
 * Seconds after which Graph's index surely knows of what was told. Less than a schedule's usual interval, so that whoever was
 * told of is read once more with the next round.
 */
export const settledAfterSeconds = 240

/**
 * A part of a statement: has people read by a round of changes though none tells of them. Changes are told of whoever is
 * known when they are, and once: so neither of whom something has left unread since, nor of whom a read has found something that
 * had changed already. `people` has the columns `user_id`, `told_at`: a later hint counts instead of this one; and `due_at`.
 * Only for sources that are told of changes, or are about to be: of others nobody would take them.
 */
export function readAgain(sql: ISql, people: PendingQuery<Row[]>) {
  return sql`
    insert into delta_hints (source, user_id, told_at, due_at)
    select t.source, again.user_id, again.told_at, again.due_at
    from (${people}) again join delegated_tokens t on t.user_id = again.user_id
    where exists (select from delta_links where source = t.source)
      or exists (select from resyncs where source = t.source and mode = 'delta' and state = 'running')
    order by 1, 2
    on conflict (source, user_id) do update set told_at = excluded.told_at, due_at = excluded.due_at
    where delta_hints.told_at < excluded.told_at`
}
