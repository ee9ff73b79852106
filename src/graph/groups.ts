import { z } from 'zod'
import { Throttled } from '../errors.ts'
import { isNotFound, refuse } from './answer.ts'
import { answerTo, maxRequests } from './batch.ts'
import type { GraphClient } from './client.ts'
import { batchAnswer, type BatchAnswer } from './wire.ts'

/** How many groups one question holds: a batch, of which one request asks who is asking. */
export const maxGroupsAsked = maxRequests - 1

/**
 * Who asks. A person's token may have been stored for another person by mistake, and in another tenant no group of this
 * one is found; a token of the app itself is asked for by its tenant.
 */
export type Asker = 'app' | { objectId: string }

/** Guests may be kept from seeing that a group exists, so what they don't find proves nothing. */
const memberOfTenant = z.object({ id: z.string(), userType: z.literal('Member') })

export type DeletedGroups = {
  objectIds: string[]
  /** Where an inner request was told to wait. */
  throttled: Throttled | undefined
}

/**
 * Which of these groups Graph says do not exist. Whatever else it says of one, nothing included, proves nothing; neither
 * does what a guest of the tenant is told, or anybody but the person who asks. At most {@link maxGroupsAsked} are asked for, in one request.
 * @throws {SyncError} see {@link GraphClient.request}.
 */
export async function readDeletedGroups(
  client: GraphClient,
  objectIds: readonly string[],
  asker: Asker,
): Promise<DeletedGroups> {
  const asked = objectIds.slice(0, maxGroupsAsked)
  const questions = asked.map((objectId, index) => ({
    id: `group-${index}`,
    method: 'GET',
    url: `/groups/${encodeURIComponent(objectId)}?$select=id`,
  }))
  const whoAsks = asker === 'app' ? [] : [{ id: 'me', method: 'GET', url: '/me?$select=id,userType' }]
  const { json } = await client.request({
    path: '/$batch',
    body: { requests: [...whoAsks, ...questions] },
  })
  const batch = batchAnswer.safeParse(json)
  if (!batch.success) return { objectIds: [], throttled: undefined }
  const { data } = batch
  const isProof = asker === 'app' || isMember(answerTo(data, 'me')?.json, asker.objectId)
  const isGone = (index: number) => {
    const answer = answerTo(data, `group-${index}`)
    return answer !== undefined && isNotFound(answer)
  }
  return {
    objectIds: asked.filter((_, index) => isProof && isGone(index)),
    throttled: data.responses.map(pauseAsked).find((pause) => pause !== undefined),
  }
}

function isMember(told: unknown, objectId: string): boolean {
  const { data } = memberOfTenant.safeParse(told)
  return data?.id.toLowerCase() === objectId.toLowerCase()
}

function pauseAsked({ status, headers, body }: BatchAnswer['responses'][number]): Throttled | undefined {
  if (status < 400) return undefined
  const error = refuse({ status, headers, json: body })
  return error instanceof Throttled ? error : undefined
}
