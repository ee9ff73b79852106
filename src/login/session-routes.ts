import { Hono, type Context } from 'hono'
import { csrf } from 'hono/csrf'
import type { Logger } from 'pino'
import type { z } from 'zod'
import type { Database } from '../../db/client.ts'
import { askForSync, findSessionView, withdrawSyncAsk, type SessionView } from '../../db/session-view.ts'
import { findTokenState } from '../../db/token-states.ts'
import { databaseFailure } from '../database-failure.ts'
import { syncsGroups } from '../source-config.ts'
import type { SignInSource } from './sign-in-source.ts'
import { problemPage } from '../page.ts'
import type { sessionAnswer } from './session-paths.ts'
import type { Session, Sessions } from './session.ts'
import { signedInPage, signedOutPage } from './sign-in-page.ts'

export type SessionRouteParts = {
  publicUrl: string
  sources: ReadonlyMap<string, SignInSource>
  sessions: Sessions
  db: Database
  /** Of the keys that open stored tokens. */
  tokenKeyIds: readonly string[]
  /** Has the person read anew; false where the queue didn't take the job. */
  syncNow: (session: Session) => Promise<boolean>
  log: Logger
}

/** Seconds between two syncs that one person may ask for. */
const syncEverySeconds = 60

/** `GET /` for people, `GET /session` for programs, and what a person may do: sign out, here or everywhere, and ask for a sync. */
export function sessionRoutes(parts: SessionRouteParts): Hono {
  const { sessions, sources } = parts
  const app = new Hono()
  const ownForm = csrf({ origin: new URL(parts.publicUrl).origin })

  app.get('/', async (c) => {
    const session = await readSession(parts, c)
    if (session === 'unreachable') return await unreachable(c)
    if (!session) return c.html(await signedOutPage([...sources.values()].map(({ config }) => config)))
    const view = await readView(parts, session)
    if (view === 'unreachable') return await unreachable(c)
    return c.html(await signedInPage({ source: sources.get(session.source)?.config, session, ...view }))
  })

  app.get('/session', async (c) => {
    const session = await readSession(parts, c)
    if (session === undefined) return c.json({ signedIn: false })
    const view = session === 'unreachable' ? session : await readView(parts, session)
    if (session === 'unreachable' || view === 'unreachable')
      return c.json({ error: 'unavailable' }, 503, { 'Retry-After': '5' })
    const { user, groups, freshness } = view.view
    const { syncedAt, state } = freshness
    const body: z.output<typeof sessionAnswer> = {
      signedIn: true,
      source: session.source,
      user,
      groups: [...groups],
      freshness: { syncedAt, state },
    }
    return c.json(body)
  })

  app.post('/sign-out', ownForm, async (c) => {
    const session = await readSession(parts, c)
    const ended = await sessions.end(c).catch((error: unknown) => notRead(parts.log, error))
    if (session === 'unreachable' || ended === 'unreachable') return await unreachable(c)
    const source = session && sources.get(session.source)
    // Signed out here whatever happens; at Entra as well where it says how.
    const away = await source?.entra
      .signOutUrl(`${parts.publicUrl}/`, session?.logoutHint ?? undefined)
      .catch(() => undefined)
    return c.redirect(away?.href ?? '/', 303)
  })

  app.post('/sign-out-everywhere', ownForm, async (c) => {
    const ended = await sessions.endEverywhere(c).catch((error: unknown) => notRead(parts.log, error))
    return ended === 'unreachable' ? await unreachable(c) : c.redirect('/', 303)
  })

  app.post('/sync-now', ownForm, async (c) => {
    const session = await readSession(parts, c)
    if (session === 'unreachable') return await unreachable(c)
    if (!session) return c.redirect('/', 303)
    const source = sources.get(session.source)
    if (!source || !syncsGroups(source.config)) return c.redirect('/', 303)
    const asked = await askFor(parts, session)
    if (asked === 'unreachable') return await unreachable(c)
    return asked === 'too_often' ? await tooOften(c) : c.redirect('/', 303)
  })

  return app
}

async function readSession(
  { sessions, log }: SessionRouteParts,
  c: Context,
): Promise<Session | 'unreachable' | undefined> {
  return await sessions.read(c).catch((error: unknown) => notRead(log, error))
}

/** Where the queue doesn't take it, it costs the person nothing. */
async function askFor(
  { db, syncNow, log }: SessionRouteParts,
  session: Session,
): Promise<'asked' | 'too_often' | 'unreachable'> {
  try {
    const askedAt = await askForSync(db, session.userId, syncEverySeconds)
    if (askedAt === undefined) return 'too_often'
    if (await syncNow(session)) return 'asked'
    await withdrawSyncAsk(db, session.userId, askedAt)
    return 'unreachable'
  } catch (error) {
    log.error({ code: databaseFailure(error).code }, 'sync not asked for')
    return 'unreachable'
  }
}

async function readView(
  { db, tokenKeyIds, log }: SessionRouteParts,
  { userId, source }: Session,
): Promise<{ view: SessionView; needsLogin: boolean } | 'unreachable'> {
  try {
    const view = await findSessionView(db, userId)
    const tokens = await findTokenState(db, userId, source, tokenKeyIds)
    // The person's row goes with the session, so it was there a moment ago.
    return view ? { view, needsLogin: tokens?.state === 'needs_login' } : 'unreachable'
  } catch (error) {
    return notRead(log, error)
  }
}

function notRead(log: Logger, error: unknown): 'unreachable' {
  log.error({ code: databaseFailure(error).code }, 'session not read')
  return 'unreachable'
}

async function unreachable(c: Context): Promise<Response> {
  const page = problemPage({
    title: 'That didn’t work',
    advice: 'Something is out of reach on our side. Try again in a minute.',
  })
  return c.html(await page, 503, { 'Retry-After': '5' })
}

async function tooOften(c: Context): Promise<Response> {
  const page = problemPage({
    title: 'A sync was asked for already',
    advice: 'Less than a minute ago. It runs as soon as its turn has come.',
    action: { href: '/', text: 'Back to your groups' },
  })
  return c.html(await page, 429, { 'Retry-After': String(syncEverySeconds) })
}
