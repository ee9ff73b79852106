import type { Database } from './client.ts'
import { columns, type StoredResync } from './resyncs.ts'

/**
 * For people to look at: newest first, those that began before the one of an id where that is given. Of rounds of changes
 * that told nothing, of which there are hundreds a day, only each source's latest round is among them.
 */
export async function listShownResyncs(
  db: Database,
  limit: number,
  before?: string,
): Promise<StoredResync[]> {
  const sql = db.$client
  return await sql<StoredResync[]>`
    select ${columns(sql)} from resyncs
    where (mode <> 'delta' or state <> 'done' or due > 0 or id in (
        select distinct on (source) id from resyncs where mode = 'delta' order by source, started_at desc))
      and (${before ?? null}::uuid is null
        or (started_at, id) < (select started_at, id from resyncs where id = ${before ?? null}::uuid))
    order by started_at desc, id desc limit ${limit}`
}

/** The latest of each source and mode, and when the latest one that was done ended; null where none was. */
export type LatestResync = StoredResync & { doneAt: string | null }

export async function listLatestResyncs(db: Database): Promise<LatestResync[]> {
  const sql = db.$client
  return await sql<LatestResync[]>`
    select distinct on (source, mode) ${columns(sql)}, (
      select to_json(max(ended_at)) #>> '{}' from resyncs d
      where d.source = r.source and d.mode = r.mode and d.state = 'done') as "doneAt"
    from resyncs r order by source, mode, started_at desc`
}
