import { Hono, type MiddlewareHandler } from 'hono'
import { bodyLimit } from 'hono/body-limit'
import type { Logger } from 'pino'
import { z } from 'zod'
import { InvalidLoginEvent } from '../errors.ts'
import { requireApiKey } from './api-keys.ts'
import { describeProblems, invalid, plainMessage, type RequestProblem } from './problems.ts'
import { unavailable } from './unavailable.ts'

export const stored = z.object({ eventId: z.guid() })

export const runReported = z.object({ eventId: z.guid(), outcome: z.string(), runId: z.guid().optional() })

export type LoginEventsParts<User> = {
  /** Shape of the body, `waitUpToMs` aside. */
  user: z.ZodType<User>
  loginSucceeded: (user: User, options: { waitUpToMs?: number }) => Promise<z.output<typeof runReported>>
  /** None closes the route: every request is then 401. */
  apiKeys: readonly string[]
  log: Logger
}

const maxBodyBytes = 64 * 1024
/** What stands in the body beside the person. */
export const waitOptions = z.object({
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
        if (error instanceof InvalidLoginEvent) return invalid(c, error.problems)
        const message = 'the event was not stored; send it again'
        return unavailable(c, error, { log: parts.log, what: 'login event not stored', message })
      }
    },
  )
  app.all('/login-events', (c) => c.json({ error: 'method_not_allowed' }, 405, { Allow: 'POST' }))
  return app
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
