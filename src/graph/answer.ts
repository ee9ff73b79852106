import { AccessDenied, GraphUnavailable, SyncError, Throttled, TokenRejected } from '../errors.ts'
import { graphError } from './wire.ts'

/** One answer of Graph, an inner one of a batch included. */
export type Answer = { status: number; headers: Headers; json: unknown }

/** Milliseconds. Graph also sends "1" for ever and, through proxies, hours; both ends are ours. */
const retryFloorMs = 1000
const retryCapMs = 3_600_000
const retryDefaultMs = 10_000

/** The error an answer outside 2xx stands for, decided on the status alone. */
export function refuse(answer: Answer): SyncError {
  const { status, headers } = answer
  const body = graphError.safeParse(answer.json)
  const code = body.success ? body.data.error.code : ''
  const inner = body.success ? (body.data.error.innerError ?? body.data.error.innererror) : undefined
  const details = { requestId: headers.get('request-id') ?? inner?.['request-id'] }
  const said = `Graph answered ${status}${/^[\w.-]{1,80}$/.test(code) ? ` ${code}` : ''}`
  if (status === 401) return new TokenRejected(code || 'unauthorized', said, details)
  if (status === 403)
    return new AccessDenied(`${said}: the token lacks a permission, see the README's list`, details)
  if (status === 429 || (status === 503 && headers.has('retry-after'))) {
    return new Throttled(retryAfterMs(headers.get('retry-after')), said, details)
  }
  // 424 is what a failed batch envelope answered in older versions (Graph docs: throttling).
  if (status >= 500 || status === 408 || status === 424) return new GraphUnavailable(said, details)
  return new SyncError('unexpected_response', said, details)
}

/** `Retry-After` in milliseconds: seconds, with fractions too, or an HTTP date (RFC 9110, 10.2.3); floored and capped. */
export function retryAfterMs(value: string | null, now: number = Date.now()): number {
  const text = value?.trim() ?? ''
  const asked = /^\d+(\.\d+)?$/.test(text) ? Number(text) * 1000 : Date.parse(text) - now
  return Math.min(Math.max(Number.isNaN(asked) ? retryDefaultMs : asked, retryFloorMs), retryCapMs)
}
