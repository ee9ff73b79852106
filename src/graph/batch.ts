import { unexpected, type Answer } from './answer.ts'
import { batchAnswer, type BatchAnswer } from './wire.ts'

/** How many requests one batch holds (Graph docs: json-batching). */
export const maxRequests = 20

/** @throws {SyncError} `unexpected_response` for what is no batch at all. */
export function readBatch({ json, headers }: Answer): BatchAnswer {
  const batch = batchAnswer.safeParse(json)
  if (batch.success) return batch.data
  throw unexpected('a batch', headers.get('request-id') ?? undefined)
}

/** The answer to one request of a batch; undefined also where there are two, which can't both be true. */
export function answerTo({ responses }: BatchAnswer, id: string): Answer | undefined {
  const [answer, ...others] = responses.filter((response) => response.id === id)
  if (!answer || others.length > 0) return undefined
  return { status: answer.status, headers: answer.headers, json: answer.body }
}

export const isGood = ({ status }: Answer): boolean => status >= 200 && status <= 299
