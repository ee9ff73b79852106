import type { Fault } from './faults.ts'
import { errorBody, expiredPageToken } from './graph-api/errors.ts'

type Rewrite = NonNullable<Fault['rewrite']>

const linkTo = (url: string) => (body: unknown) => ({ ...members(body), '@odata.nextLink': url })

/**
 * What goes wrong with real answers, by name: `faults.next({ ...faultsOf.cutBody(), on: { page: 2 } })`. A made-up
 * status alone needs no name.
 */
export const faultsOf = {
  /** The page links on to this address, though it be another host's. */
  foreignNextLink: (url: string): Fault => ({ rewrite: linkTo(url) }),
  /** The page links to itself, a last page too. */
  repeatedNextLink: (): Fault => ({ rewrite: (body, { url }) => linkTo(url)(body) }),
  /** The link to this page, the second unless told otherwise, is too old (`Directory_ExpiredPageToken`). */
  expiredNextLink: (page = 2): Fault => {
    const ids = { requestId: crypto.randomUUID(), clientRequestId: crypto.randomUUID() }
    return { on: { page }, status: 400, body: errorBody(expiredPageToken(), ids, new Date()) }
  },
  /**
   * A 200 without its last `count` entries, all of them unless told otherwise. `@odata.count` is lowered to agree and,
   * when nothing is left, the next link is gone: nothing in the answer tells it from the truth.
   */
  membersMissing: (count = Infinity): Fault => ({ rewrite: (body) => without(count, body) }),
  /** The page a gateway in front of the service shows, which isn't JSON. */
  htmlUnavailable: ({ retryAfter }: { retryAfter?: string } = {}): Fault => ({
    status: 503,
    headers: {
      'content-type': 'text/html',
      ...(retryAfter === undefined ? {} : { 'retry-after': retryAfter }),
    },
    body: '<!DOCTYPE html><html><head><title>Service Unavailable</title></head><body><h2>Service Unavailable</h2></body></html>',
  }),
  /** Half the JSON, with a length that agrees: only parsing can tell. */
  truncatedJson: (): Fault => ({ truncate: true }),
  /** Half the body, then the connection is gone. */
  cutBody: (): Fault => ({ cut: 'mid-body' }),
  /** Half the body, then nothing, on a connection that stays. */
  stalledBody: (): Fault => ({ hang: 'mid-body' }),
  /** The whole body, a few bytes at a time. */
  drip: (bytes = 16, everyMs = 50): Fault => ({ drip: { bytes, everyMs } }),
  /** A body that goes on as fast as the client reads, until the client leaves. */
  endless: (): Fault => ({ endless: true }),
} as const

function without(count: number, body: unknown): ReturnType<Rewrite> {
  const { value, '@odata.count': told, '@odata.nextLink': link, ...rest } = members(body)
  const entries: unknown[] = Array.isArray(value) ? value : []
  const kept = entries.slice(0, Math.max(0, entries.length - count))
  return {
    ...rest,
    ...(typeof told === 'number' ? { '@odata.count': kept.length === 0 ? 0 : told - count } : {}),
    ...(link === undefined || kept.length === 0 ? {} : { '@odata.nextLink': link }),
    value: kept,
  }
}

function members(body: unknown): Record<string, unknown> {
  return typeof body === 'object' && body !== null ? { ...body } : {}
}
