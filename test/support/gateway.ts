import { randomBytes } from 'node:crypto'
import { pino } from 'pino'
import { afterAll } from 'vitest'
import type { Database } from '../../db/client.ts'
import { openDatabase } from '../../db/client.ts'
import type { NamedKey, SourceConfig } from '../../src/config.ts'
import { createGateway, type GatewayParts } from '../../src/gateway.ts'
import type { SignedInUser } from '../../src/login/signed-in-user.ts'

export const publicUrl = 'http://localhost:3000'

export const testSource: SourceConfig = {
  slug: 'entra-id',
  name: 'Entra ID',
  tenantId: '11111111-1111-4111-8111-111111111111',
  clientId: '22222222-2222-4222-8222-222222222222',
  clientSecret: 'a secret of the registration',
  authorityHost: 'http://127.0.0.1:9',
  graphBaseUrl: 'http://127.0.0.1:9',
  groupRead: 'transitive',
  unitsPer10s: 3500,
}

export const newKey = (id: string): NamedKey => ({ id, key: new Uint8Array(randomBytes(32)) })

/** A database that is down, for the file that calls it: port 9 (discard) refuses connections. */
export function deadDatabase(): Database {
  const dead = openDatabase('postgres://nobody@127.0.0.1:9/none', { connectTimeoutSeconds: 1 })
  afterAll(() => dead.$client.end())
  return dead
}

/** A gateway with everything recorded: login events, log lines. */
export function testGateway(parts: Partial<GatewayParts> & Pick<GatewayParts, 'db'>) {
  const logins: { user: SignedInUser; options: { waitUpToMs?: number } | undefined }[] = []
  const logLines: string[] = []
  const app = createGateway({
    publicUrl,
    source: testSource,
    sessionKeys: [newKey('k1')],
    apiKeys: ['a-key-of-an-application-1'],
    adminPassword: 'a long password',
    loginSucceeded: async (user, options) => {
      logins.push({ user, options })
      return { eventId: '33333333-3333-4333-8333-333333333333', outcome: 'pending' }
    },
    queues: [],
    log: pino({ level: 'trace' }, { write: (line: string) => void logLines.push(line) }),
    ...parts,
  })
  return { app, logins, logLines }
}
