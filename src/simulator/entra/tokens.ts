import { createHmac, randomBytes, timingSafeEqual } from 'node:crypto'
import { z } from 'zod'
import { randomFrom } from '../random.ts'

const refreshTokenLifetime = 90 * 24 * 60 * 60 * 1000

const accessClaims = z.looseObject({
  aud: z.string(),
  tid: z.string(),
  oid: z.string(),
  appid: z.string(),
  exp: z.number(),
  nbf: z.number(),
  aio: z.string(),
  scp: z.string().optional(),
  roles: z.array(z.string()).optional(),
  xms_cc: z.array(z.string()).optional(),
})
const refreshClaims = z.object({
  /** Of the user's tenant; left out in tokens from before there were several, which are the first's. */
  tenantId: z.string().optional(),
  userId: z.string(),
  clientId: z.string(),
  scope: z.string(),
  issuedAt: z.number(),
  epoch: z.number(),
  sessionId: z.string(),
  cp1: z.boolean(),
})

export type AccessClaims = z.infer<typeof accessClaims>
export type RefreshClaims = z.infer<typeof refreshClaims>
export type Reading<T> =
  | { state: 'valid'; claims: T }
  | { state: 'unknown' }
  | { state: 'expired' }
  | { state: 'revoked' }

/**
 * Issues and reads the tokens only this simulator can read. They carry all they mean, sealed by a key derived from
 * the seed: nothing is stored, and what a client kept over a restart of the same seed goes on working.
 */
export type Tokens = {
  issueAccessToken(claims: Readonly<Record<string, unknown>> & { oid: string; exp: number }): string
  readAccessToken(token: string): Reading<AccessClaims>
  issueRefreshToken(claims: Omit<RefreshClaims, 'issuedAt' | 'epoch'>): string
  readRefreshToken(token: string): Reading<RefreshClaims>
  /** Seconds, 60–90 minutes as Entra draws them, unless the simulator was given a fixed lifetime. */
  lifetime(): number
  /** Makes every access token issued so far, or one user's, count as expired. */
  expireAccessTokens(userId?: string): void
  /** What an administrator's "revoke sessions" does: refresh tokens issued so far answer 50173. */
  revoke(userId: string): void
  remember(token: string): void
  issued(): string[]
  reset(): void
}

/** Starts issuing; `keep` bounds how many issued tokens are remembered for `issued`. */
export function createTokens(options: {
  seed: number
  now: () => number
  keep: number
  lifetimeSeconds: number | undefined
}): Tokens {
  const { seed, now, lifetimeSeconds } = options
  const seal = createSeal(`simulated tenant ${seed}`)
  const memory = createMemory(options.keep)
  let lifetimes = randomFrom(seed, 'lifetimes')
  let epoch = 0
  const accessEpochs = new Map<string, number>()
  const grantEpochs = new Map<string, number>()
  const accessEpoch = (userId: string): string => `${epoch}.${accessEpochs.get(userId) ?? 0}`
  const grantEpoch = (userId: string): number => grantEpochs.get(userId) ?? 0

  return {
    issueAccessToken: (claims) =>
      memory.remember(seal.close(graphHeader(), { ...claims, aio: accessEpoch(claims.oid) }, 224)),
    readAccessToken(token) {
      const read = accessClaims.safeParse(seal.open(token))
      if (!read.success) return { state: 'unknown' }
      const over = read.data.exp * 1000 <= now() || read.data.aio !== accessEpoch(read.data.oid)
      return over ? { state: 'expired' } : { state: 'valid', claims: read.data }
    },
    issueRefreshToken(claims) {
      const id = randomBytes(16).toString('hex')
      const full = { ...claims, issuedAt: now(), epoch: grantEpoch(claims.userId), id }
      return memory.remember(seal.close('1', full))
    },
    readRefreshToken(token) {
      const read = refreshClaims.safeParse(seal.open(token))
      if (!read.success) return { state: 'unknown' }
      if (read.data.epoch !== grantEpoch(read.data.userId)) return { state: 'revoked' }
      if (read.data.issuedAt + refreshTokenLifetime <= now()) return { state: 'expired' }
      return { state: 'valid', claims: read.data }
    },
    lifetime: () => lifetimeSeconds ?? 3600 + lifetimes.integer(1800),
    expireAccessTokens(userId) {
      if (userId === undefined) epoch += 1
      else accessEpochs.set(userId, (accessEpochs.get(userId) ?? 0) + 1)
    },
    revoke: (userId) => void grantEpochs.set(userId, grantEpoch(userId) + 1),
    remember: (token) => void memory.remember(token),
    issued: () => memory.all(),
    reset() {
      seal.change()
      memory.clear()
      lifetimes = randomFrom(seed, 'lifetimes')
      epoch = 0
      accessEpochs.clear()
      grantEpochs.clear()
    },
  }
}

/** The header nonce marks Graph's own format, whose signature no client can check (Entra docs: access-tokens). */
function graphHeader(): string {
  const nonce = randomBytes(32).toString('base64url')
  return encode({ typ: 'JWT', nonce, alg: 'RS256', x5t: 'graph', kid: 'graph' })
}

type Memory = { remember(token: string): string; all(): string[]; clear(): void }

/** Keeps at least the newest `limit` tokens; older ones are dropped in bulk. */
function createMemory(limit: number): Memory {
  let tokens: string[] = []
  return {
    remember(token) {
      if (limit === 0) return token
      if (tokens.length >= limit * 2) tokens = tokens.slice(-limit)
      tokens.push(token)
      return token
    },
    all: () => [...tokens],
    clear() {
      tokens = []
    },
  }
}

type Seal = {
  /** `padding` lengthens the code to the size a client expects of a signature. */
  close(head: string, payload: object, padding?: number): string
  /** The payload, or undefined for anything this seal didn't close. */
  open(token: string): unknown
  /** From now on nothing closed before opens. */
  change(): void
}

function createSeal(secret: string): Seal {
  let generation = 0
  const code = (text: string): Buffer => createHmac('sha256', `${secret} ${generation}`).update(text).digest()
  return {
    close(head, payload, padding = 0) {
      const text = `${head}.${encode(payload)}`
      return `${text}.${Buffer.concat([code(text), Buffer.alloc(padding, 0x5a)]).toString('base64url')}`
    },
    open(token) {
      const end = token.lastIndexOf('.')
      const given = Buffer.from(token.slice(end + 1), 'base64url').subarray(0, 32)
      if (end < 0 || given.length !== 32 || !timingSafeEqual(given, code(token.slice(0, end))))
        return undefined
      const payload = token.slice(token.indexOf('.') + 1, end)
      return JSON.parse(Buffer.from(payload, 'base64url').toString('utf8'))
    },
    change() {
      generation += 1
    },
  }
}

function encode(value: object): string {
  return Buffer.from(JSON.stringify(value), 'utf8').toString('base64url')
}
