import type { Database } from './client.ts'

export type DeltaLink = { resource: 'groups' | 'users'; link: string }

/** Links that are younger than so many seconds, and whether there were older ones; Graph forgets them after seven days. */
export async function findDeltaLinks(
  db: Database,
  source: string,
  maxAgeSeconds: number,
): Promise<{ links: DeltaLink[]; expired: boolean }> {
  const rows = await db.$client<(DeltaLink & { young: boolean })[]>`
    select resource, link, obtained_at > clock_timestamp() - ${maxAgeSeconds} * interval '1 second' as young
    from delta_links where source = ${source}`
  return {
    links: rows.filter(({ young }) => young),
    expired: rows.some(({ young }) => !young),
  }
}
