import {
  Client,
  ResponseType,
  type Context,
  type GraphRequest as SdkRequest,
  type Middleware,
} from '@microsoft/microsoft-graph-client'
import { GraphUnavailable, SyncError } from '../errors.ts'
import { failureKind } from '../failure-kind.ts'
import { isNotFound, refuse, type Answer } from './answer.ts'
import { readJson } from './body.ts'
import { addUsage, usageOf, usageOfUnread, type GraphUsage } from './usage.ts'
import { batchAnswer, graphError } from './wire.ts'

/** `high` for what a person waits for, `low` for a resync: Graph throttles low first. */
export type GraphPriority = 'high' | 'low'

export type GraphClientOptions = {
  /** Origin of Graph, no version: `https://graph.microsoft.com`. Tokens go to this origin and no other. */
  baseUrl: string
  accessToken: string
  priority?: GraphPriority
  /** Milliseconds for one request, body included; default 30,000. */
  timeoutMs?: number
  /** Bytes of one answer; default 16 MiB. */
  maxBytes?: number
  fetch?: typeof fetch
  /** Aborts whatever request is open. */
  signal?: AbortSignal | undefined
}

export type GraphRequest = {
  path: string
  headers?: Record<string, string>
  body?: unknown
  /** Default GET, or POST where there is a body. */
  method?: 'POST' | 'PATCH' | 'DELETE'
  /** `empty`: a 404 about the thing itself is an answer, and no error. */
  missing?: 'empty'
  /** Statuses that are an answer, and no error, where Graph itself gives them. */
  accept?: readonly number[]
}

export type GraphClient = {
  baseUrl: string
  /**
   * Sends one request below `/v1.0` and gives the JSON of a 2xx answer, or of a batch in 424.
   * @throws {SyncError} by status, see {@link refuse}; nothing is retried here, that is the queue's work.
   */
  request: (request: GraphRequest) => Promise<Answer>
  /** What all answers so far have cost, refusals and those that couldn't be read included. */
  usage: () => GraphUsage
}

/** Why there is no answer, by the error `Response` that stands for it. */
type Failures = WeakMap<Response, unknown>

/** What a header can carry of a token (RFC 6750, section 2.1). */
const headerToken = /^[\x21-\x7e]+$/

/**
 * The Graph SDK with a middleware chain of our own: token → fetch. The SDK's retrying and paging stay out, since
 * retrying is the queue's and a walk over pages must be proven complete.
 * @throws {SyncError} `unexpected_response` for a token that no header can carry; fetch's own error would quote it.
 */
export function createGraphClient(options: GraphClientOptions): GraphClient {
  if (!headerToken.test(options.accessToken))
    throw new SyncError('unexpected_response', 'the access token has characters that no header can carry')
  const { baseUrl, priority = 'high', timeoutMs = 30_000, maxBytes = 16 * 1024 * 1024 } = options
  const failures: Failures = new WeakMap()
  let usage: GraphUsage = { requests: 0, units: 0, limitShare: undefined }
  const client = Client.initWithMiddleware({
    baseUrl: `${baseUrl}/`,
    defaultVersion: 'v1.0',
    middleware: tokenMiddleware(options, failures, fetchMiddleware(options.fetch ?? fetch, failures)),
  })
  return {
    baseUrl,
    request: async ({ path, headers = {}, body, method, missing, accept }) => {
      const timeUp = AbortSignal.timeout(timeoutMs)
      const signal = options.signal ? AbortSignal.any([options.signal, timeUp]) : timeUp
      const request = client
        .api(path)
        .headers({ ...headers, 'x-ms-throttle-priority': priority })
        .option('signal', signal)
        .responseType(ResponseType.RAW)
      const response = await sendAs(request, method ?? (body === undefined ? 'GET' : 'POST'), body)
      if (!(response instanceof Response)) throw new GraphUnavailable('Graph gave no answer')
      const failure = failures.get(response)
      if (failure instanceof SyncError) throw failure
      if (response.type === 'error')
        throw new GraphUnavailable('Graph could not be reached', { cause: failureKind(failure) })
      const json = await readJson(response, { maxBytes, signal }).catch((error: unknown) => {
        usage = addUsage(usage, usageOfUnread(response.headers, body))
        throw error
      })
      const answer = { status: response.status, headers: response.headers, json }
      usage = addUsage(usage, usageOf(answer))
      if (missing === 'empty' && isNotFound(answer)) return answer
      if (accept?.includes(answer.status) && graphError.safeParse(json).success) return answer
      if (!response.ok && !isFailedBatch(answer)) throw refuse(answer)
      return answer
    },
    usage: () => usage,
  }
}

function sendAs(request: SdkRequest, method: 'GET' | NonNullable<GraphRequest['method']>, body: unknown) {
  return {
    GET: async (): Promise<unknown> => await request.get(),
    POST: async (): Promise<unknown> => await request.post(body),
    PATCH: async (): Promise<unknown> => await request.patch(body),
    DELETE: async (): Promise<unknown> => await request.delete(),
  }[method]()
}

/**
 * A batch of which a part failed: 424 around the inner answers in older versions, 200 in newer ones (Graph docs:
 * throttling, json-batching). Either way the inner answers say what happened.
 */
function isFailedBatch({ status, json }: Answer): boolean {
  return status === 424 && batchAnswer.safeParse(json).success
}

/** Adds the bearer token; a request to any other origin isn't sent. The SDK's own would drop it for http and custom hosts. */
function tokenMiddleware(
  { baseUrl, accessToken }: GraphClientOptions,
  failures: Failures,
  next: Middleware,
): Middleware {
  const { origin } = new URL(baseUrl)
  return {
    execute: async (context: Context) => {
      const url = typeof context.request === 'string' ? context.request : context.request.url
      const headers = new Headers(context.options?.headers)
      if (!URL.canParse(url) || new URL(url).origin !== origin) {
        context.response = Response.error()
        failures.set(
          context.response,
          new SyncError('unexpected_response', 'a link leads away from the configured Graph'),
        )
        return
      }
      headers.set('authorization', `Bearer ${accessToken}`)
      context.options = { ...context.options, headers, redirect: 'error' }
      await next.execute(context)
    },
  }
}

/** The SDK folds whatever is thrown here into an error of its own, so a failure travels as an error `Response`. */
function fetchMiddleware(send: typeof fetch, failures: Failures): Middleware {
  return {
    execute: async (context: Context) => {
      try {
        context.response = await send(context.request, context.options)
      } catch (error) {
        context.response = Response.error()
        failures.set(context.response, error)
      }
    },
  }
}
