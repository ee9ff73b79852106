import { Hono } from 'hono'
import { csrf } from 'hono/csrf'
import type { Logger } from 'pino'
import type { Database } from '../../db/client.ts'
import { findSessionView, type SessionView } from '../../db/session-view.ts'
import type { SourceConfig } from '../config.ts'
import type { Session, Sessions } from './session.ts'
import { signedInPage, signedOutPage } from './sign-in-page.ts'

export type SessionRouteParts = {
  publicUrl: string
  source: SourceConfig
  sessions: Sessions
  db: Database
  log: Logger
}

/** `GET /` for people, `GET /session` for programs, `POST /sign-out`. */
export function sessionRoutes(parts: SessionRouteParts): Hono {
  const { source, sessions } = parts
  const app = new Hono()

  app.get('/', async (c) => {
    const session = await sessions.read(c)
    if (!session) return c.html(await signedOutPage(source))
    return c.html(await signedInPage(source, session, await readView(parts, session)))
  })

  app.get('/session', async (c) => {
    const session = await sessions.read(c)
    if (!session) return c.json({ signedIn: false })
    const view = await readView(parts, session)
    if (view === 'unreachable') return c.json({ error: 'unavailable' }, 503, { 'Retry-After': '5' })
    return c.json({ signedIn: true, ...(view ?? emptyView(session)) })
  })

  app.post('/sign-out', csrf({ origin: new URL(parts.publicUrl).origin }), (c) => {
    sessions.end(c)
    return c.redirect('/', 303)
  })

  return app
}

async function readView(
  { db, log }: SessionRouteParts,
  { tenantId, objectId }: Session,
): Promise<SessionView | 'unreachable' | undefined> {
  try {
    return await findSessionView(db, tenantId, objectId)
  } catch (error) {
    // Only the code: messages of the driver may carry what was asked for.
    log.error(
      { code: error instanceof Error && 'code' in error ? error.code : undefined },
      'session not read',
    )
    return 'unreachable'
  }
}

/** Signed in while the database was down: the person is known from the cookie only. */
function emptyView({ tenantId, objectId, displayName, userPrincipalName }: Session) {
  return {
    user: {
      id: null,
      tenantId,
      objectId,
      displayName: displayName ?? null,
      userPrincipalName: userPrincipalName ?? null,
      mail: null,
    },
    groups: [],
    freshness: { syncedAt: null, state: 'never' },
  }
}
