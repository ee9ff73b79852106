import {
  AccessDenied,
  GraphUnavailable,
  SyncError,
  Throttled,
  TokenRejected,
  type ErrorDetails,
} from '../errors.ts'
import { retryAfterMs } from '../retry-after.ts'
import { challengeClaims } from './challenge.ts'
import { graphError } from './wire.ts'

/** One answer of Graph, an inner one of a batch included. */
export type Answer = { status: number; headers: Headers; json: unknown }

/** The error an answer outside 2xx stands for, decided on the status alone. */
export function refuse(answer: Answer): SyncError {
  const { status, headers } = answer
  const body = graphError.safeParse(answer.json)
  const code = body.success ? body.data.error.code : ''
  const inner = body.success ? (body.data.error.innerError ?? body.data.error.innererror) : undefined
  const details = { requestId: headers.get('request-id') || inner?.['request-id'] }
  const name = /^[\w.-]{1,80}$/.test(code) ? code : ''
  const said = `Graph answered ${status}${name && ` ${name}`}`
  if (status === 401) {
    const claims = challengeClaims(headers)
    const reason = claims === undefined ? name || 'unauthorized' : 'insufficient_claims'
    return new TokenRejected(reason, said, { ...details, claims })
  }
  if (status === 403)
    return new AccessDenied(`${said}: the token lacks a permission, see the README's list`, details)
  if (status === 429 || (status === 503 && headers.has('retry-after'))) {
    return new Throttled(retryAfterMs(headers.get('retry-after')), said, details)
  }
  // 424 is what a failed batch envelope answered in older versions (Graph docs: throttling).
  if (status >= 500 || status === 408 || status === 424) return new GraphUnavailable(said, details)
  if (status === 410 || expired.has(code.toLowerCase())) return new LinkExpired(said, details)
  return new Refused(said, details)
}

/** As far as documented for directory objects: 410, or a 40x that says so (Graph docs: delta-query-overview). */
const expired = new Set(['syncstatenotfound', 'syncstateinvalid', 'resyncrequired'])

/** What was asked is refused, by Graph or before it is sent, for a reason that has no error of its own. */
export class Refused extends SyncError {
  constructor(message: string, details: ErrorDetails = {}) {
    super('unexpected_response', message, details)
    this.name = 'Refused'
  }
}

/** What a link stood for is forgotten: whoever follows it has to begin anew. */
export class LinkExpired extends SyncError {
  constructor(message: string, details: ErrorDetails = {}) {
    super('unexpected_response', message, details)
    this.name = 'LinkExpired'
  }
}

/** Graph says that what was asked for doesn't exist: a 404 alone proves nothing (Graph docs: errors). */
export function isNotFound(answer: Answer): boolean {
  if (answer.status !== 404) return false
  const body = graphError.safeParse(answer.json)
  return body.success && body.data.error.code === 'Request_ResourceNotFound'
}

export function unexpected(what: string, requestId: string | undefined): SyncError {
  return new SyncError('unexpected_response', `Graph's answer does not have the shape of ${what}`, {
    requestId,
  })
}
