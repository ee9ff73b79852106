import { generateKeyPair, SignJWT } from 'jose'
import type { Database } from '../../db/client.ts'
import { findTokenSubject } from '../../db/token-subjects.ts'
import { isPassing } from '../../src/exchange.ts'
import type { GatewayParts } from '../../src/gateway.ts'
import { createSeal } from '../../src/sealing.ts'
import { pino } from 'pino'
import { newKey, publicUrl, testSource, testTenantId } from './gateway.ts'

const { clientId } = testSource
const issuer = `https://login.example/${testTenantId}/v2.0`

/** An issuer of local tokens whose one source knows a single key of Entra's, without an Entra that publishes it. */
export async function issuerOfOneKey(apiKey: string) {
  const { publicKey, privateKey } = await generateKeyPair('RS256')
  const keys = { find: async () => publicKey, issuerOf: () => undefined }
  const authority = { issuer, keyIssuers: [issuer], keys }
  const sealing = newKey('k1')
  return {
    application: { id: 'orders', secret: 'the-secret-of-all-the-orders' },
    /** A token of Entra's that an app has for a person. */
    entraToken: async (objectId: string): Promise<string> =>
      await new SignJWT({
        tid: testTenantId,
        oid: objectId,
        azp: clientId,
        scp: 'access_as_user',
        ver: '2.0',
      })
        .setProtectedHeader({ alg: 'RS256', kid: 'one' })
        .setIssuer(issuer)
        .setAudience(clientId)
        .setSubject('pairwise')
        .setIssuedAt()
        .setNotBefore('-1m')
        .setExpirationTime('1h')
        .sign(privateKey),
    partsFor: (db: Database): NonNullable<GatewayParts['issuer']> => ({
      publicUrl,
      db,
      seal: createSeal([sealing]),
      applications: [{ id: 'orders', secret: 'the-secret-of-all-the-orders' }],
      apiKeys: [apiKey],
      lifeSeconds: 600,
      sources: [
        {
          slug: 'entra-id',
          clientId,
          rules: {
            accepts: 'any',
            audiences: [],
            versions: 'any',
            callers: [clientId],
            groups: 'roles',
            groupMap: {},
          },
          takesTenant: (tenantId) => tenantId === testTenantId,
          authorityOf: async () => authority,
        },
      ],
      subjectOf: async ({ tenantId, objectId }) => {
        const subject = await findTokenSubject(db, { tenantId, objectId }, 200)
        if (!subject) throw new Error('nobody of this id')
        return subject
      },
      isPassing,
      log: pino({ level: 'silent' }),
    }),
  }
}
