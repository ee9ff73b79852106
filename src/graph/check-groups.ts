import { z } from 'zod'
import { SyncError } from '../errors.ts'
import type { GraphClient } from './client.ts'

const checked = z.object({ value: z.array(z.string()) })

/**
 * Which of these groups the token's user is in, nested ones included; at most 20 are asked for (Graph docs:
 * directoryobject-checkmembergroups).
 * @throws {SyncError} see {@link GraphClient.request}.
 */
export async function checkMemberGroups(
  client: GraphClient,
  groupIds: readonly string[],
): Promise<readonly string[]> {
  const { json } = await client.request({ path: '/me/checkMemberGroups', body: { groupIds } })
  const answer = checked.safeParse(json)
  if (!answer.success)
    throw new SyncError('unexpected_response', "Graph's answer does not have the shape of a list of groups")
  const asked = new Set(groupIds)
  return answer.data.value.map((id) => id.toLowerCase()).filter((id) => asked.has(id))
}
