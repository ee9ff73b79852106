import { createHash } from 'node:crypto'
import type { Context } from 'hono'
import { deleteCookie, getCookie, setCookie } from 'hono/cookie'
import { EncryptJWT, jwtDecrypt } from 'jose'
import { z } from 'zod'
import type { NamedKey } from '../config.ts'
import { cookieKeys } from './cookie-keys.ts'

const pendingSignIn = z.object({
  slug: z.string(),
  state: z.string(),
  nonce: z.string(),
  codeVerifier: z.string(),
  returnTo: z.string(),
  /** Whom the sign-in was begun for, as far as somebody said. */
  loginHint: z.string().optional(),
  /** Claims of a challenge that Entra was asked for; JSON. */
  claims: z.string().optional(),
  /** Object id of the person whose claims they are. */
  claimsOf: z.string().optional(),
  /** That person has signed in already, and goes for the claims only: `asked` to, or sent by us right after. */
  again: z.enum(['asked', 'sent']).optional(),
  /** Who has wanted more during this sign-in: once is enough for each. */
  challenged: z.array(z.enum(['entra', 'graph'])).optional(),
  /** Entra is to ask which account, whoever is signed in there. */
  otherAccount: z.boolean().optional(),
})

/** Entra wants more once it sees the code, Graph once it is asked about groups. */
export type Challenger = NonNullable<PendingSignIn['challenged']>[number]

/** A sign-in that has gone to Entra and not come back. */
export type PendingSignIn = z.output<typeof pendingSignIn>

export type PendingSignIns = {
  remember: (c: Context, pending: PendingSignIn) => Promise<void>
  /** Single use: the cookie goes whatever the outcome. Undefined for a state this browser doesn't have. */
  take: (c: Context, state: string) => Promise<PendingSignIn | undefined>
}

const lifetimeSeconds = 600
/** Sign-ins begun and left in other tabs, and their characters; with more the request headers would grow past what servers take. */
const maxPending = 8
const maxPendingLength = 8000

/**
 * Keeps pending sign-ins in the browser that began them: one encrypted cookie a sign-in (`dir`, A256GCM), named after
 * its state so that tabs don't disturb each other. That ties the state to the browser, as RFC 6749 section 10.12 asks.
 */
export function createPendingSignIns(options: {
  sessionKeys: readonly NamedKey[]
  secure: boolean
}): PendingSignIns {
  const keys = cookieKeys(options.sessionKeys, 'pending sign-in')
  const prefix = `${options.secure ? '__Secure-' : ''}egs_sign_in_`
  const cookie = { path: '/source/oauth/', httpOnly: true, sameSite: 'Lax', secure: options.secure } as const
  const nameFor = (state: string) =>
    prefix + createHash('sha256').update(state).digest('base64url').slice(0, 16)
  return {
    remember: async (c, pending) => {
      const older = Object.entries(getCookie(c)).filter(([name]) => name.startsWith(prefix))
      const length = older.reduce((sum, [, value]) => sum + value.length, 0)
      if (older.length >= maxPending || length > maxPendingLength)
        for (const [name] of older) deleteCookie(c, name, cookie)
      setCookie(c, nameFor(pending.state), await encrypt(keys, pending), {
        ...cookie,
        maxAge: lifetimeSeconds,
      })
    },
    take: async (c, state) => {
      const text = getCookie(c, nameFor(state))
      if (text === undefined) return undefined
      deleteCookie(c, nameFor(state), cookie)
      const pending = await decrypt(keys, text)
      return pending?.state === state ? pending : undefined
    },
  }
}

async function encrypt([current]: readonly NamedKey[], pending: PendingSignIn): Promise<string> {
  if (!current) throw new TypeError('no session key')
  return await new EncryptJWT(pending)
    .setProtectedHeader({ alg: 'dir', enc: 'A256GCM', kid: current.id })
    .setIssuedAt()
    .setExpirationTime(`${lifetimeSeconds}s`)
    .encrypt(current.key)
}

/** Undefined for what is too old, altered or sealed with a key we no longer have: to the person it is all the same. */
async function decrypt(keys: readonly NamedKey[], text: string): Promise<PendingSignIn | undefined> {
  const keyFor = (kid: string | undefined) => {
    const found = keys.find(({ id }) => id === kid)
    if (!found) throw new Error('unknown key')
    return found.key
  }
  try {
    const { payload } = await jwtDecrypt(text, ({ kid }) => keyFor(kid), {
      keyManagementAlgorithms: ['dir'],
      contentEncryptionAlgorithms: ['A256GCM'],
      requiredClaims: ['exp'],
    })
    return pendingSignIn.safeParse(payload).data
  } catch {
    return undefined
  }
}
