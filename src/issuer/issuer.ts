import { Hono, type Context } from 'hono'
import type { Logger } from 'pino'
import type { Database } from '../../db/client.ts'
import type { TokenSubject } from '../../db/token-subjects.ts'
import { codeOf } from '../database-failure.ts'
import type { Seal } from '../sealing.ts'
import type { Application } from '../setting-shapes.ts'
import type { EntraToken, ExchangeSource } from './entra-token.ts'
import { createReadGoodToken } from './good-token.ts'
import { introspection } from './introspection.ts'
import { createLocalTokens } from './local-token.ts'
import { metadata } from './metadata.ts'
import { sessionToken } from './session-token.ts'
import { createSigningKeys } from './signing-keys.ts'
import { tokenEndpoint } from './token-endpoint.ts'

export type IssuerParts = {
  /** Of the gateway, no trailing slash. */
  publicUrl: string
  db: Database
  /** Seals the keys that sign. */
  seal: Seal
  applications: readonly Application[]
  apiKeys: readonly string[]
  /** Seconds for which a token is good. */
  lifeSeconds: number
  /** Those whose tokens are exchanged. */
  sources: readonly ExchangeSource[]
  subjectOf: (token: EntraToken) => Promise<TokenSubject>
  isPassing: (error: unknown) => boolean
  readSession: (c: Context) => Promise<{ id: string; userId: string } | undefined>
  /** Whether a session still does, without a use of it. */
  sessionHolds: (id: string) => Promise<boolean>
  log: Logger
}

/** Whoever shows a local token: who they are, and what it is good for. */
export type VerifyCaller = (
  token: string,
) => Promise<{ userId: string; tenantId: string; scopes: readonly string[] } | undefined>

/** What to do about keys that don't open. */
const sameKeys =
  'give all gateways and commands the same TOKEN_ENCRYPTION_KEYS, the old ones included until `keys rotate` is through; ' +
  'until then another key signs, which each gateway makes at most once an hour'

/** Local tokens and all there is about them: where they are given, checked and described, and who shows one. */
export function createIssuer(parts: IssuerParts): { routes: Hono; verifyCaller: VerifyCaller } {
  const { publicUrl, db, seal, log } = parts
  const keys = createSigningKeys({
    db,
    seal,
    tokenSeconds: parts.lifeSeconds,
    onUnreadable: (kid, sealedWith) =>
      log.error({ kid, sealedWith }, `a signing key does not open with TOKEN_ENCRYPTION_KEYS; ${sameKeys}`),
    onNone: () =>
      log.error(`no signing key opens with TOKEN_ENCRYPTION_KEYS, so no local token is given; ${sameKeys}`),
    onLasting: (error) =>
      log.warn(
        { code: codeOf(error) },
        'the database is out of reach; the signing keys read less than half an hour ago are published',
      ),
  })
  const tokens = createLocalTokens({ publicUrl, keys, lifeSeconds: parts.lifeSeconds })
  const { issuer } = tokens
  const readGoodToken = createReadGoodToken({ db, tokens, sessionHolds: parts.sessionHolds })
  const applications = parts.applications.map(({ id }) => id)
  const routes = new Hono()
  routes.route('/', metadata({ ...parts, issuer, keys }))
  routes.route('/application/o', tokenEndpoint({ ...parts, applications, tokens }))
  routes.route('/application/o', introspection({ ...parts, issuer, readGoodToken }))
  routes.route('/', sessionToken({ ...parts, applications, tokens }))
  return {
    routes,
    verifyCaller: async (text) => {
      const good = await readGoodToken(text)
      if (!good) return undefined
      const { userId, tenantId } = good.subject
      return { userId, tenantId, scopes: good.token.scope.split(' ') }
    },
  }
}
