import type { HttpRequest } from '../http.ts'

const cookieName = 'ESTSAUTHPERSISTENT'

/** Remembers in the browser who signed in last, which is what `prompt=none` signs in again. */
export function sessionCookie(userId: string): string {
  return `${cookieName}=${userId}; Path=/; HttpOnly; SameSite=Lax`
}

export function endedSessionCookie(): string {
  return `${cookieName}=; Path=/; HttpOnly; SameSite=Lax; Max-Age=0`
}

export function signedInUserId(request: HttpRequest): string | undefined {
  for (const cookie of (request.headers['cookie'] ?? '').split(';')) {
    const [name, value] = cookie.trim().split('=')
    if (name === cookieName && value) return value
  }
  return undefined
}
