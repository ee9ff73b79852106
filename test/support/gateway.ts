import { resyncOf } from '../../src/resync-settings.ts'
import { randomBytes, randomUUID } from 'node:crypto'
import { pino } from 'pino'
import { afterAll } from 'vitest'
import type { Database } from '../../db/client.ts'
import { openDatabase } from '../../db/client.ts'
import { insertLoginEvent, type NewLoginEvent } from '../../db/login-events.ts'
import type { NamedKey } from '../../src/config.ts'
import { createGateway, type GatewayParts } from '../../src/gateway.ts'
import { refusalOf, settleInvitation, type CheckGroups } from '../../src/login/admission.ts'
import { createAppCredentials } from '../../src/login/credentials.ts'
import { createEntraClient, type EntraClient } from '../../src/login/entra.ts'
import type { SignInSource } from '../../src/login/sign-in-source.ts'
import type { LoginReported } from '../../src/login/signed-in-user.ts'
import { defaultScopes, type SourceConfig } from '../../src/source-config.ts'

export const publicUrl = 'http://localhost:3000'

export const testTenantId = '11111111-1111-4111-8111-111111111111'

export const testSource: SourceConfig = {
  slug: 'entra-id',
  name: 'Entra ID',
  icon: undefined,
  enabled: true,
  promoted: false,
  tenant: { kind: 'single', id: testTenantId },
  clientId: '22222222-2222-4222-8222-222222222222',
  credentials: [{ kind: 'secret', id: 'secret', secret: 'a secret of the registration' }],
  scopes: defaultScopes,
  groupSync: true,
  authorityHost: 'http://127.0.0.1:9',
  graphBaseUrl: 'http://127.0.0.1:9',
  groupRead: 'transitive',
  groupFilter: undefined,
  guard: { minRemovals: 20, maxShare: 0.5 },
  resyncGuard: { minRemovals: 200, maxShare: 0.1 },
  unitsPer10s: 3500,
  resync: resyncOf({}),
  exchange: undefined,
  signUp: { policy: 'anyone' },
}

/** What a source needs to speak to Entra. */
export function entraOf(source: SourceConfig): EntraClient {
  return createEntraClient(source, createAppCredentials(source, { onChange: () => undefined }))
}

export const newKey = (id: string): NamedKey => ({ id, key: new Uint8Array(randomBytes(32)) })

/** A database that is down, for the file that calls it: port 9 (discard) refuses connections. */
export function deadDatabase(): Database {
  const dead = openDatabase('postgres://nobody@127.0.0.1:9/none', { connectTimeoutSeconds: 1 })
  afterAll(() => dead.$client.end())
  return dead
}

type TestParts = Partial<GatewayParts> &
  Pick<GatewayParts, 'db'> & {
    /** One source or several; default {@link testSource}. */
    configs?: readonly SourceConfig[]
    /** In place of reading the groups at Graph. */
    checkGroups?: CheckGroups
    /** In place of storing the login event, which is recorded either way. */
    loginSucceeded?: LoginReported
  }

/** A gateway with everything recorded: login events, log lines. Login events are stored, since sessions need their users. */
export function testGateway(parts: TestParts) {
  const { configs = [testSource], checkGroups = async () => [], ...given } = parts
  const { db } = parts
  const logins: { user: Parameters<LoginReported>[0]; options: { waitUpToMs?: number } | undefined }[] = []
  const logLines: string[] = []
  const log = pino({ level: 'trace' }, { write: (line: string) => void logLines.push(line) })
  const store: LoginReported = async (user) => {
    const { userId: _, ...event } = await insertLoginEvent(db, eventOf(user))
    return { eventId: event.eventId, outcome: 'pending' }
  }
  const loginSucceeded: LoginReported = async (user, options) => {
    logins.push({ user, options })
    return await (parts.loginSucceeded ?? store)(user, options)
  }
  const sources = new Map<string, SignInSource>(
    configs.map((config) => [
      config.slug,
      {
        config,
        entra: entraOf(config),
        loginSucceeded: async (user, options) =>
          await loginSucceeded({ ...user, source: config.slug }, options),
        refusalOf: async (person) => await refusalOf({ db, checkGroups, log }, config, person),
        settle: async (person) => await settleInvitation(db, config, person),
      },
    ]),
  )
  const synced: string[] = []
  const app = createGateway({
    publicUrl,
    sources,
    sessionKeys: [newKey('k1')],
    session: { idleSeconds: 3600, lifeSeconds: 8 * 3600 },
    tokenKeyIds: ['k1'],
    apiKeys: ['a-key-of-an-application-1'],
    issuer: undefined,
    adminPassword: 'a long password',
    syncNow: async ({ userId }) => {
      synced.push(userId)
      return true
    },
    queues: [],
    log,
    ...given,
    loginSucceeded,
  })
  return { app, logins, logLines, synced }
}

function eventOf(user: Parameters<LoginReported>[0]): NewLoginEvent {
  return {
    eventId: randomUUID(),
    source: user.source ?? 'entra-id',
    tenantId: user.tenantId,
    objectId: user.objectId,
    userPrincipalName: user.userPrincipalName ?? null,
    displayName: user.displayName ?? null,
    mail: user.mail ?? null,
    sealed: 'sealed',
    keyId: 'k1',
    expiresAt: new Date(Date.now() + 3_600_000).toISOString(),
    scopes: user.tokens.scopes,
  }
}
