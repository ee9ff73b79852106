import type { Context, Hono } from 'hono'
import { bodyLimit } from 'hono/body-limit'
import { OAuthRefusal } from './refusal.ts'

type Answer = (c: Context) => Promise<Response>

/**
 * A route that takes a form of so many bytes and nothing but a POST. A client that was told its address by hand may leave out
 * the slash at the end: a POST can't be redirected to it.
 */
export function formRoute(
  app: Hono,
  path: `/${string}`,
  { maxBytes, answer, refused }: { maxBytes: number; answer: Answer; refused: Refused },
): void {
  const tooLong = new OAuthRefusal('invalid_request', 'too_long', `the body is longer than ${maxBytes} bytes`)
  const limit = bodyLimit({ maxSize: maxBytes, onError: (c) => refused(c, tooLong) })
  app.post(path, limit, answer)
  app.all(path, postOnly)
  if (!path.endsWith('/')) return
  app.all(path.slice(0, -1), limit, async (c) => (c.req.method === 'POST' ? await answer(c) : postOnly(c)))
}

type Refused = (c: Context, refusal: OAuthRefusal) => Response

const postOnly = (c: Context): Response =>
  c.json({ error: 'invalid_request', error_description: 'send a POST' }, 405, { Allow: 'POST' })
