import type { Snapshot } from '../snapshot.ts'
import type { GraphClient } from './client.ts'
import { advanced, groupsPath, readPage, walkGroups, type GroupRead } from './group-pages.ts'

/**
 * Every group that an app's service principal is in, by its object id, with a token of our own app, which wants
 * Application.Read.All for it, and a permission to read groups for their names (Graph docs:
 * serviceprincipal-list-transitivememberof).
 * @throws {SyncError} see {@link walkGroups}.
 */
export async function readServiceGroups(
  client: GraphClient,
  {
    objectId,
    read,
    beganAt,
    withinMs,
  }: { objectId: string; read: GroupRead; beganAt: string; withinMs: number },
): Promise<Snapshot> {
  const answer = await client.request({
    path: groupsPath(`/servicePrincipals/${encodeURIComponent(objectId)}`, read),
    headers: advanced,
  })
  const first = readPage(answer, undefined)
  return { beganAt, ...(await walkGroups(client, first, withinMs)) }
}
