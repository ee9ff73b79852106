import { GraphUnavailable } from '../errors.ts'
import type { Snapshot } from '../snapshot.ts'
import { isNotFound } from './answer.ts'
import type { GraphClient } from './client.ts'
import { advanced, groupsPath, readPage, walkGroups, type GroupRead } from './group-pages.ts'

/**
 * Every group that an app's service principal is in, by its object id, with a token of our own app, which wants
 * Application.Read.All for it, and a permission to read groups for their names (Graph docs:
 * serviceprincipal-list-transitivememberof).
 * @throws {SyncError} see {@link walkGroups}; {@link GraphUnavailable} also where Graph doesn't know it, which a new one or one
 * that was just restored is until the index has it.
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
    missing: 'empty',
  })
  if (isNotFound(answer)) {
    const requestId = answer.headers.get('request-id') ?? undefined
    throw new GraphUnavailable('Graph does not know the service principal, or not yet', { requestId })
  }
  const first = readPage(answer, undefined)
  return { beganAt, ...(await walkGroups(client, first, withinMs)) }
}
