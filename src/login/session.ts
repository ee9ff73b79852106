import type { Context } from 'hono'
import { deleteCookie, getCookie, setCookie } from 'hono/cookie'
import { jwtVerify, SignJWT } from 'jose'
import { z } from 'zod'
import type { NamedKey } from '../config.ts'
import { cookieKeys } from './cookie-keys.ts'

/** Who is signed in. Names are labels for the page; the ids are the identity. */
export type Session = {
  tenantId: string
  objectId: string
  displayName?: string | undefined
  userPrincipalName?: string | undefined
}

export type Sessions = {
  start: (c: Context, session: Session) => Promise<void>
  /** Undefined without a cookie, and for one that is expired, altered or signed with a key we no longer have. */
  read: (c: Context) => Promise<Session | undefined>
  end: (c: Context) => void
}

const lifetimeSeconds = 8 * 3600

const claims = z.object({
  tid: z.string(),
  oid: z.string(),
  name: z.string().optional(),
  upn: z.string().optional(),
})

/**
 * Sessions as signed cookies (JWT, HS256) with an absolute life of eight hours, so that a session needs no database.
 * The first key signs, all verify. `secure` adds `__Host-`, which binds the cookie to this very host (RFC 6265bis).
 */
export function createSessions(options: { sessionKeys: readonly NamedKey[]; secure: boolean }): Sessions {
  const keys = cookieKeys(options.sessionKeys, 'session')
  const name = options.secure ? '__Host-egs_session' : 'egs_session'
  const cookie = { path: '/', httpOnly: true, sameSite: 'Lax', secure: options.secure } as const
  return {
    start: async (c, session) => {
      setCookie(c, name, await sign(keys, session), { ...cookie, maxAge: lifetimeSeconds })
    },
    read: async (c) => {
      const token = getCookie(c, name)
      return token === undefined ? undefined : await verify(keys, token)
    },
    end: (c) => {
      deleteCookie(c, name, cookie)
    },
  }
}

async function sign([current]: readonly NamedKey[], session: Session): Promise<string> {
  if (!current) throw new TypeError('no session key')
  const { tenantId: tid, objectId: oid, displayName: name, userPrincipalName: upn } = session
  return await new SignJWT({ tid, oid, name, upn })
    .setProtectedHeader({ alg: 'HS256', kid: current.id })
    .setIssuedAt()
    .setExpirationTime(`${lifetimeSeconds}s`)
    .sign(current.key)
}

async function verify(keys: readonly NamedKey[], token: string): Promise<Session | undefined> {
  const keyFor = (kid: string | undefined) => {
    const found = keys.find(({ id }) => id === kid)
    if (!found) throw new Error('unknown key')
    return found.key
  }
  try {
    const { payload } = await jwtVerify(token, ({ kid }) => keyFor(kid), {
      algorithms: ['HS256'],
      requiredClaims: ['exp', 'tid', 'oid'],
    })
    const { tid, oid, name, upn } = claims.parse(payload)
    return { tenantId: tid, objectId: oid, displayName: name, userPrincipalName: upn }
  } catch {
    return undefined
  }
}
