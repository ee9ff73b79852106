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

/** Columns as JSON arrays: serialised natively, parsed faster than records or array literals, any character kept. */
export function labelRows(db: Database, groups: readonly (GroupLabels & { objectId: string })[]) {
  const sql = db.$client
  const column = (values: readonly (string | boolean | null)[]) =>
    sql`json_array_elements_text(${JSON.stringify(values)}::text::json)`
  return sql`rows from (
    ${column(groups.map(({ objectId }) => objectId))}, ${column(groups.map(({ displayName }) => displayName))},
    ${column(groups.map(({ description }) => description))}, ${column(groups.map(({ mail }) => mail))},
    ${column(groups.map(({ securityEnabled }) => securityEnabled))},
    ${column(groups.map(({ mailEnabled }) => mailEnabled))},
    ${column(groups.map(({ groupTypes }) => groupTypes && texts(groupTypes)))}
  ) as r (object_id, display_name, description, mail, security_enabled, mail_enabled, group_types)`
}

/** A null never overwrites, and a read older than the labels stored only fills gaps. */
export function labelsOfNewest(db: Database) {
  const sql = db.$client
  const label = (name: string) => sql`${sql(name)} = case when g.last_seen_at <= excluded.last_seen_at
    then coalesce(excluded.${sql(name)}, g.${sql(name)}) else coalesce(g.${sql(name)}, excluded.${sql(name)}) end`
  return sql`${label('display_name')}, ${label('description')}, ${label('mail')}, ${label('security_enabled')},
    ${label('mail_enabled')}, ${label('group_types')}`
}

/** A Postgres array of ids. */
export function uuids(ids: readonly string[]): string {
  return `{${ids.join(',')}}`
}

function texts(values: readonly string[]): string {
  return `{${values.map((value) => `"${value.replace(/["\\]/g, '\\$&')}"`).join(',')}}`
}
