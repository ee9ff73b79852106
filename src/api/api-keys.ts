import { createHash, timingSafeEqual } from 'node:crypto'
import type { Context, MiddlewareHandler } from 'hono'

/** RFC 6750: the token of an `Authorization` header; undefined where there is none of this kind. */
export function bearerOf(c: Context): string | undefined {
  return /^Bearer +(\S+) *$/i.exec(c.req.header('Authorization') ?? '')?.[1]
}

/** Every key is compared in full, so that time tells neither which key nor how much of it was right. */
export function apiKeyCheck(apiKeys: readonly string[]): (presented: string) => boolean {
  const digest = (text: string) => createHash('sha256').update(text).digest()
  const known = apiKeys.map(digest)
  return (presented) => {
    const candidate = digest(presented)
    return known.filter((key) => timingSafeEqual(key, candidate)).length > 0
  }
}

/** The 401 of RFC 6750, which names an error only where something was presented. */
export function unauthorized(c: Context, presented: string | undefined): Response {
  const challenge = `Bearer realm="entra-group-sync"${presented === undefined ? '' : ', error="invalid_token"'}`
  const message =
    'send Authorization: Bearer with one of API_KEYS or, where groups are read, with a local token that holds'
  return c.json({ error: 'unauthorized', message }, 401, { 'WWW-Authenticate': challenge })
}

export function requireApiKey(apiKeys: readonly string[]): MiddlewareHandler {
  const isKey = apiKeyCheck(apiKeys)
  return async (c, next) => {
    const presented = bearerOf(c)
    if (presented !== undefined && isKey(presented)) return await next()
    return unauthorized(c, presented)
  }
}
