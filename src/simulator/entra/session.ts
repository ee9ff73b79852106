import type { HttpRequest } from '../http.ts'

const cookieName = 'ESTSAUTHPERSISTENT'
const sessionsKept = 10_000

/** A browser's session: whose it is, and which apps they signed in to during it. */
export type BrowserSession = { userId: string; tenantId: string; clientIds: ReadonlySet<string> }

/** One address that the sign-out page loads for an app (OpenID Connect Front-Channel Logout). */
export type FrontChannelLogout = { clientId: string; sessionId: string; url: string }

/** Sessions by the id that ID tokens carry as `sid`. */
export type Sessions = {
  signedIn(sessionId: string, to: { userId: string; tenantId: string; clientId: string }): void
  find(sessionId: string): BrowserSession | undefined
  /** Ends a session; `logouts` are what its sign-out page loads. */
  end(sessionId: string, logouts: readonly FrontChannelLogout[]): void
  logouts(sessionId?: string): FrontChannelLogout[]
  clear(): void
}

/** Starts with nobody signed in; the oldest of very many sessions are forgotten. */
export function createSessions(): Sessions {
  const sessions = new Map<string, BrowserSession>()
  const ended: FrontChannelLogout[] = []
  return {
    signedIn(sessionId, { userId, tenantId, clientId }) {
      const clientIds = new Set([...(sessions.get(sessionId)?.clientIds ?? []), clientId])
      sessions.set(sessionId, { userId, tenantId, clientIds })
      const [oldest] = sessions.keys()
      if (sessions.size > sessionsKept && oldest !== undefined) sessions.delete(oldest)
    },
    find: (sessionId) => sessions.get(sessionId),
    end(sessionId, logouts) {
      sessions.delete(sessionId)
      ended.push(...logouts)
    },
    logouts: (sessionId) => ended.filter((each) => sessionId === undefined || each.sessionId === sessionId),
    clear() {
      sessions.clear()
      ended.length = 0
    },
  }
}

/** Remembers in the browser who signed in last, which is what `prompt=none` signs in again, and in which session. */
export function sessionCookie(userId: string, sessionId: string): string {
  return `${cookieName}=${userId}.${sessionId}; Path=/; HttpOnly; SameSite=Lax`
}

export function endedSessionCookie(): string {
  return `${cookieName}=; Path=/; HttpOnly; SameSite=Lax; Max-Age=0`
}

export function signedInUserId(request: HttpRequest): string | undefined {
  return readCookie(request)?.[0]
}

/** The session's id, if it is this user's, or anybody's when none is named. */
export function browserSession(request: HttpRequest, userId?: string): string | undefined {
  const [user, sessionId] = readCookie(request) ?? []
  return userId === undefined || user === userId ? sessionId : undefined
}

function readCookie(request: HttpRequest): string[] | undefined {
  for (const cookie of (request.headers['cookie'] ?? '').split(';')) {
    const [name, value] = cookie.trim().split('=')
    if (name === cookieName && value) return value.split('.')
  }
  return undefined
}
