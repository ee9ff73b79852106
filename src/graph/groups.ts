import { z } from 'zod'
import type { GraphClient } from './client.ts'
import { batchAnswer, graphError, type BatchAnswer } from './wire.ts'

/** How many groups one question holds: a batch of 20 (Graph docs: json-batching), of which one asks who is asking. */
export const maxGroupsAsked = 19

/** A group is gone for all only where this code stands beside the 404 (Graph docs: errors). */
const notFound = 'Request_ResourceNotFound'

/** Guests may be kept from seeing that a group exists, so what they don't find proves nothing. */
const memberOfTenant = z.object({ userType: z.literal('Member') })

/**
 * Which of these groups Graph says do not exist. Whatever else it says of one, nothing included, proves nothing; neither
 * does what a guest of the tenant is told. At most {@link maxGroupsAsked} are asked for, in one request.
 * @throws {SyncError} see {@link GraphClient.request}.
 */
export async function readDeletedGroups(
  client: GraphClient,
  objectIds: readonly string[],
): Promise<string[]> {
  const asked = objectIds.slice(0, maxGroupsAsked)
  const questions = asked.map((objectId, index) => ({
    id: `group-${index}`,
    method: 'GET',
    url: `/groups/${encodeURIComponent(objectId)}?$select=id`,
  }))
  const { json } = await client.request({
    path: '/$batch',
    body: { requests: [{ id: 'me', method: 'GET', url: '/me?$select=userType' }, ...questions] },
  })
  const batch = batchAnswer.safeParse(json)
  if (!batch.success || !memberOfTenant.safeParse(answerTo(batch.data, 'me')?.body).success) return []
  return asked.filter((_, index) => isGone(answerTo(batch.data, `group-${index}`)))
}

/** Undefined also where there are two. */
function answerTo({ responses }: BatchAnswer, id: string): BatchAnswer['responses'][number] | undefined {
  const [answer, ...others] = responses.filter((response) => response.id === id)
  return others.length === 0 ? answer : undefined
}

function isGone(answer: BatchAnswer['responses'][number] | undefined): boolean {
  if (answer?.status !== 404) return false
  const body = graphError.safeParse(answer.body)
  return body.success && body.data.error.code === notFound
}
