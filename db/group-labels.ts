import type { Database } from './client.ts'

/** What a group is called and what kind it is. Null = not known. */
export type GroupLabels = {
  displayName: string | null
  description: string | null
  mail: string | null
  securityEnabled: boolean | null
  mailEnabled: boolean | null
  groupTypes: readonly string[] | null
}

/**
 * Columns as JSON arrays: serialised natively, parsed faster than records or array literals, any character kept. One fragment
 * and not one a column, since the client makes a promise of each.
 */
export function labelRows(db: Database, groups: readonly (GroupLabels & { objectId: string })[]) {
  const column = (of: (group: GroupLabels & { objectId: string }) => string | boolean | null) =>
    JSON.stringify(groups.map(of))
  return db.$client`rows from (
    json_array_elements_text(${column(({ objectId }) => objectId)}::text::json),
    json_array_elements_text(${column(({ displayName }) => displayName)}::text::json),
    json_array_elements_text(${column(({ description }) => description)}::text::json),
    json_array_elements_text(${column(({ mail }) => mail)}::text::json),
    json_array_elements_text(${column(({ securityEnabled }) => securityEnabled)}::text::json),
    json_array_elements_text(${column(({ mailEnabled }) => mailEnabled)}::text::json),
    json_array_elements_text(${column(({ groupTypes }) => groupTypes && texts(groupTypes))}::text::json)
  ) as r (object_id, display_name, description, mail, security_enabled, mail_enabled, group_types)`
}

const labels = ['display_name', 'description', 'mail', 'security_enabled', 'mail_enabled', 'group_types']

const newestOfEach = labels
  .map(
    (label) => `${label} = case when g.last_seen_at <= excluded.last_seen_at
    then coalesce(excluded.${label}, g.${label}) else coalesce(g.${label}, excluded.${label}) end`,
  )
  .join(', ')

/** A null never overwrites, and a read older than the labels stored only fills gaps. A text of ours that nothing is put into. */
export function labelsOfNewest(db: Database) {
  return db.$client.unsafe(newestOfEach)
}

/** A Postgres array of ids. */
export function uuids(ids: readonly string[]): string {
  return `{${ids.join(',')}}`
}

function texts(values: readonly string[]): string {
  return `{${values.map((value) => `"${value.replace(/["\\]/g, '\\$&')}"`).join(',')}}`
}
