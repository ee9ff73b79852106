import type { Context } from 'hono'
import type { Logger } from 'pino'
import { isUnreachable } from '../../db/reachable.ts'
import { databaseFailure } from '../database-failure.ts'

/** 503 where the database couldn't be reached or refused, which asking again may mend; else 500. */
export function unavailable(
  c: Context,
  error: unknown,
  { log, what, message }: { log: Logger; what: string; message?: string },
): Response {
  const { code } = databaseFailure(error)
  const unreachable = code === 'database_failed' || isUnreachable(error)
  log.error({ code: unreachable ? 'database_failed' : code }, what)
  if (!unreachable) return c.json({ error: 'internal' }, 500)
  return c.json({ error: 'unavailable', message }, 503, { 'Retry-After': '5' })
}
