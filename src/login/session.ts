import { randomUUID } from 'node:crypto'
import type { Context } from 'hono'
import { deleteCookie, getCookie, setCookie } from 'hono/cookie'
import { jwtVerify, SignJWT } from 'jose'
import { z } from 'zod'
import type { Database } from '../../db/client.ts'
import {
  endSession,
  endAllSessionsBy,
  findSession,
  insertSession,
  type SessionRules,
  type StoredSession,
} from '../../db/sessions.ts'
import type { NamedKey } from '../setting-shapes.ts'
import { cookieKeys } from './cookie-keys.ts'

/** Who is signed in, and through which source. */
export type Session = StoredSession

/** Whom a session is started for. */
export type SignedInPerson = {
  tenantId: string
  objectId: string
  source: string
  entraSession: string | undefined
  logoutHint: string | undefined
}

export type Sessions = {
  /** Another session than the browser had before. False where the person isn't stored, or is disabled. */
  start: (c: Context, person: SignedInPerson) => Promise<boolean>
  /**
   * Undefined without a cookie, for one that is expired, altered or signed with a key we no longer have, and for a session
   * that is over or doesn't hold any more; see {@link findSession}.
   */
  read: (c: Context) => Promise<Session | undefined>
  /** Whether a session holds, which is no use of it. */
  holds: (id: string) => Promise<boolean>
  /** The browser loses its cookie even where Postgres can't be told. */
  end: (c: Context) => Promise<void>
  /** Ends every session of the person. */
  endEverywhere: (c: Context) => Promise<void>
}

export type SessionOptions = {
  db: Database
  sessionKeys: readonly NamedKey[]
  /** See {@link sessionCookieName}. */
  secure: boolean
  rules: SessionRules
  /** Seconds after which it ends, whatever is done in it. */
  lifeSeconds: number
  /** Whether the configuration still lets people of that tenant in through that source. Default: it does. */
  accepts?: (session: Pick<Session, 'source' | 'tenantId'>) => boolean
}

/** `__Host-` binds the cookie to this very host (RFC 6265bis). */
export const sessionCookieName = (secure: boolean) => (secure ? '__Host-egs_session' : 'egs_session')

const claims = z.object({ sid: z.uuid() })

/** Sessions in Postgres, of which the browser has the id in a signed cookie. The first key signs, all verify. */
export function createSessions(options: SessionOptions): Sessions {
  const { db, rules, lifeSeconds, accepts = () => true } = options
  const keys = cookieKeys(options.sessionKeys, 'session')
  const name = sessionCookieName(options.secure)
  const cookie = { path: '/', httpOnly: true, sameSite: 'Lax', secure: options.secure } as const
  const idOf = async (c: Context) => await verify(keys, getCookie(c, name))
  const find = async (id: string, isUse: boolean) => {
    const session = await findSession(db, id, rules, { isUse })
    return session && accepts(session) ? session : undefined
  }
  const read = async (c: Context) => {
    const id = await idOf(c)
    return id === undefined ? undefined : await find(id, true)
  }
  return {
    start: async (c, person) => {
      const earlier = await idOf(c)
      const id = randomUUID()
      if (!(await insertSession(db, { ...person, id, lifeSeconds }))) return false
      if (earlier !== undefined) await endSession(db, earlier)
      setCookie(c, name, await sign(keys, id, lifeSeconds), { ...cookie, maxAge: lifeSeconds })
      return true
    },
    read,
    holds: async (id) => (await find(id, false)) !== undefined,
    end: async (c) => {
      const id = await idOf(c)
      deleteCookie(c, name, cookie)
      if (id !== undefined) await endSession(db, id)
    },
    endEverywhere: async (c) => {
      const id = await idOf(c)
      deleteCookie(c, name, cookie)
      // Also of a session that doesn't hold any more: the person means all of them.
      if (id !== undefined) await endAllSessionsBy(db, id)
    },
  }
}

async function sign([current]: readonly NamedKey[], sid: string, lifeSeconds: number): Promise<string> {
  if (!current) throw new TypeError('no session key')
  return await new SignJWT({ sid })
    .setProtectedHeader({ alg: 'HS256', kid: current.id })
    .setIssuedAt()
    .setExpirationTime(`${lifeSeconds}s`)
    .sign(current.key)
}

async function verify(keys: readonly NamedKey[], token: string | undefined): Promise<string | undefined> {
  if (token === undefined) return undefined
  const keyFor = (kid: string | undefined) => {
    const found = keys.find(({ id }) => id === kid)
    if (!found) throw new Error('unknown key')
    return found.key
  }
  try {
    const { payload } = await jwtVerify(token, ({ kid }) => keyFor(kid), {
      algorithms: ['HS256'],
      requiredClaims: ['exp', 'sid'],
    })
    return claims.parse(payload).sid
  } catch {
    return undefined
  }
}
