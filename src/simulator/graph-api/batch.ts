import { z } from 'zod'
import type { HttpAnswer, HttpRequest } from '../http.ts'
import type { GraphReply } from './call.ts'
import type { AnswerInner } from './endpoints.ts'
import { badRequest } from './errors.ts'
import type { Throttling } from './throttling.ts'

const maxRequests = 20

const innerRequest = z.object({
  id: z.string().min(1),
  method: z.string().regex(/^[A-Za-z]+$/),
  url: z.string().min(1),
  headers: z.record(z.string(), z.string()).default({}),
  body: z.unknown().optional(),
  dependsOn: z.array(z.string()).default([]),
})
const batchBody = z.object({ requests: z.array(innerRequest).min(1) })

type InnerRequest = z.infer<typeof innerRequest>

/**
 * Answers a JSON batch (Graph docs: json-batching): 200 whatever its items are, 400 when it cannot be read. Older docs
 * had 424 for a batch in which something was throttled.
 */
export async function answerBatch(
  request: HttpRequest,
  answerInner: AnswerInner,
  throttling: Throttling,
): Promise<GraphReply> {
  if (request.method !== 'POST') throw badRequest('A batch must be posted.', 'BadRequest')
  const requests = readBatch(request.body)
  const answers = new Map<string, HttpAnswer>()
  for (const inner of inOrder(requests)) {
    const failed = inner.dependsOn.some((id) => (answers.get(id)?.status ?? 0) >= 400)
    answers.set(inner.id, failed ? failedDependency() : await answerInner(innerRequestOf(request, inner)))
  }
  // Graph answers in any order; the last asked comes first here, so that nobody relies on theirs.
  const responses = [...answers].toReversed().map(([id, answer]) => writeResponse(id, answer))
  const throttled = [...answers.values()].some(({ status }) => status === 429)
  const status = throttled ? throttling.batchEnvelope() : 200
  return { status, type: 'json', body: `{"responses":[${responses.join(',')}]}` }
}

function readBatch(body: string): InnerRequest[] {
  let json: unknown
  try {
    json = JSON.parse(body)
  } catch {
    throw badRequest('Invalid batch payload format.', 'BadRequest')
  }
  const read = batchBody.safeParse(json)
  if (!read.success) throw badRequest('Invalid batch payload format.', 'BadRequest')
  const { requests } = read.data
  if (requests.length > maxRequests)
    throw badRequest(
      `Number of batch request steps exceeds the maximum value of ${maxRequests}.`,
      'MaximumValueExceeded',
    )
  const ids = new Set(requests.map(({ id }) => id))
  if (ids.size < requests.length)
    throw badRequest('Request Ids must be unique within the batch request.', 'BadRequest')
  for (const { url, dependsOn } of requests) {
    if (/^[a-z][a-z0-9+.-]*:|^\/\//i.test(url))
      throw badRequest('Request url must be relative.', 'BadRequest')
    if (/^\/?\$batch/i.test(url)) throw badRequest('Batch requests cannot be nested.', 'BadRequest')
    const missing = dependsOn.find((id) => !ids.has(id))
    if (missing !== undefined)
      throw badRequest(`Request depends on '${missing}', which is not in the batch.`, 'BadRequest')
  }
  return requests
}

/** Every request after those it depends on. */
function inOrder(requests: readonly InnerRequest[]): InnerRequest[] {
  const ordered: InnerRequest[] = []
  const done = new Set<string>()
  while (ordered.length < requests.length) {
    const ready = requests.filter(
      ({ id, dependsOn }) => !done.has(id) && dependsOn.every((each) => done.has(each)),
    )
    if (ready.length === 0)
      throw badRequest('Requests must not depend on each other in a circle.', 'BadRequest')
    for (const inner of ready) done.add(inner.id)
    ordered.push(...ready)
  }
  return ordered
}

function innerRequestOf(outer: HttpRequest, inner: InnerRequest): HttpRequest {
  const target = `/v1.0/${inner.url.replace(/^\//, '')}`
  const mark = target.indexOf('?')
  const rawQuery = mark < 0 ? '' : target.slice(mark + 1)
  const headers: Record<string, string> = {}
  for (const [name, value] of Object.entries(inner.headers)) headers[name.toLowerCase()] = value
  // The outer token counts, and only it: query headers such as ConsistencyLevel belong to each inner request.
  if (outer.headers['authorization'] !== undefined) headers['authorization'] = outer.headers['authorization']
  return {
    origin: outer.origin,
    baseUrl: outer.baseUrl,
    method: inner.method.toUpperCase(),
    path: mark < 0 ? target : target.slice(0, mark),
    query: new URLSearchParams(rawQuery),
    rawQuery,
    headers,
    body: inner.body === undefined ? '' : JSON.stringify(inner.body),
  }
}

function failedDependency(): HttpAnswer {
  const error = { code: 'FailedDependency', message: 'A request this one depends on failed.' }
  return { status: 424, headers: { 'content-type': 'application/json' }, body: JSON.stringify({ error }) }
}

/** Bodies that aren't JSON travel as base64 (Graph docs: json-batching, response format). */
function writeResponse(id: string, answer: HttpAnswer): string {
  const parts = [
    `"id":${JSON.stringify(id)}`,
    `"status":${answer.status}`,
    `"headers":${JSON.stringify(answer.headers)}`,
  ]
  if (answer.body !== '') parts.push(`"body":${isJson(answer.body) ? answer.body : base64(answer.body)}`)
  return `{${parts.join(',')}}`
}

function isJson(text: string): boolean {
  try {
    JSON.parse(text)
    return true
  } catch {
    return false
  }
}

function base64(text: string): string {
  return JSON.stringify(Buffer.from(text, 'utf8').toString('base64'))
}
