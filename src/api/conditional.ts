import { createHash } from 'node:crypto'
import type { Context } from 'hono'

/**
 * JSON with a strong tag of its content, or 304 for who has it already (RFC 9110, sections 8.8.3 and 13.1.2). Caches of others
 * keep nothing, and a browser asks before it shows what it has.
 */
export function taggedJson(c: Context, body: unknown, headers: Record<string, string> = {}): Response {
  const text = JSON.stringify(body)
  const tag = createHash('sha256').update(text).digest('base64url')
  const always = { ETag: `"${tag}"`, 'Cache-Control': 'private, no-cache', Vary: 'Authorization' }
  if (hasAlready(c.req.header('If-None-Match'), tag)) return c.body(null, 304, always)
  return c.body(text, 200, { ...always, ...headers, 'Content-Type': 'application/json' })
}

/** Weak tags count too: the comparison of this header is the weak one. */
function hasAlready(told: string | undefined, tag: string): boolean {
  if (told === undefined) return false
  if (told.trim() === '*') return true
  return [...told.matchAll(/(?:W\/)?"([^"]*)"/g)].some(([, known]) => known === tag)
}
