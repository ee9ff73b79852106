import { createHash, timingSafeEqual } from 'node:crypto'
import { Hono, type Context, type MiddlewareHandler } from 'hono'
import { bodyLimit } from 'hono/body-limit'
import type { Logger } from 'pino'
import { z } from 'zod'
import { isUnreachable } from '../../db/reachable.ts'
import { toSyncError } from '../errors.ts'
import { describeProblems, plainMessage, type RequestProblem } from './problems.ts'

export type LoginEventsParts<User> = {
  /** Shape of the body, `waitUpToMs` aside. */
  user: z.ZodType<User>
  loginSucceeded: (user: User, options: { waitUpToMs?: number }) => Promise<{ eventId: string }>
  /** None closes the route: every request is then 401. */
  apiKeys: readonly string[]
  log: Logger
}

const maxBodyBytes = 64 * 1024
const waitOptions = z.object({
  waitUpToMs: z.int().min(0).max(30_000).optional(),
})

/** `POST /login-events`: sign-in flows not written in TypeScript report theirs. Every answer is JSON. */
export function loginEvents<User>(parts: LoginEventsParts<User>): Hono {
  const app = new Hono()
  app.use('/login-events', requireApiKey(parts.apiKeys))
  app.post(
    '/login-events',
    requireJson,
    bodyLimit({
      maxSize: maxBodyBytes,
      onError: (c) => c.json({ error: 'too_large', message: `the body is over ${maxBodyBytes} bytes` }, 413),
    }),
    async (c) => {
      const body = parseBody(await c.req.text(), parts.user)
      if ('problems' in body) return invalid(c, body.problems)
      try {
        const result = await parts.loginSucceeded(body.user, { waitUpToMs: body.waitUpToMs })
        return body.waitUpToMs > 0 ? c.json(result, 200) : c.json({ eventId: result.eventId }, 202)
      } catch (error) {
        return notStored(parts.log, c, error)
      }
    },
  )
  app.all('/login-events', (c) => c.json({ error: 'method_not_allowed' }, 405, { Allow: 'POST' }))
  return app
}

/** RFC 6750. Every key is compared in full, so that time tells neither which key nor how much of it was right. */
function requireApiKey(apiKeys: readonly string[]): MiddlewareHandler {
  const digest = (text: string) => createHash('sha256').update(text).digest()
  const known = apiKeys.map(digest)
  return async (c, next) => {
    const presented = /^Bearer +(\S+) *$/i.exec(c.req.header('Authorization') ?? '')?.[1]
    const candidate = digest(presented ?? '')
    const matches = known.filter((key) => timingSafeEqual(key, candidate)).length
    if (presented !== undefined && matches > 0) return await next()
    const challenge = `Bearer realm="entra-group-sync"${presented === undefined ? '' : ', error="invalid_token"'}`
    return c.json({ error: 'unauthorized' }, 401, { 'WWW-Authenticate': challenge })
  }
}

const requireJson: MiddlewareHandler = async (c, next) => {
  if (/^application\/json *(;|$)/i.test(c.req.header('Content-Type') ?? '')) return await next()
  return c.json({ error: 'unsupported_media_type', message: 'send application/json' }, 415)
}

function parseBody<User>(
  text: string,
  schema: z.ZodType<User>,
): { user: User; waitUpToMs: number } | { problems: RequestProblem[] } {
  let body: unknown
  try {
    body = JSON.parse(text)
  } catch {
    return { problems: [{ field: 'body', message: 'is not valid JSON' }] }
  }
  if (typeof body !== 'object' || body === null || Array.isArray(body)) {
    return { problems: [{ field: 'body', message: 'must be a JSON object' }] }
  }
  const { waitUpToMs, ...rest } = { waitUpToMs: undefined, ...body }
  const user = schema.safeParse(rest, { error: plainMessage })
  const options = waitOptions.safeParse({ waitUpToMs }, { error: plainMessage })
  if (user.success && options.success) return { user: user.data, waitUpToMs: options.data.waitUpToMs ?? 0 }
  const issues = [...(user.error?.issues ?? []), ...(options.error?.issues ?? [])]
  return { problems: describeProblems(issues, body) }
}

const invalid = (c: Context, problems: RequestProblem[]) =>
  c.json({ error: 'invalid_request', problems }, 400)

function notStored(log: Logger, c: Context, error: unknown): Response {
  const { code } = toSyncError(error)
  const unreachable = code === 'database_failed' || isUnreachable(error)
  log.error({ code: unreachable ? 'database_failed' : code }, 'login event not stored')
  if (!unreachable) return c.json({ error: 'internal' }, 500)
  return c.json({ error: 'unavailable', message: 'the event was not stored; send it again' }, 503, {
    'Retry-After': '5',
  })
}
