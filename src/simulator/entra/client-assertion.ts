import { createPublicKey } from 'node:crypto'
import { createLocalJWKSet, decodeJwt, decodeProtectedHeader, errors, jwtVerify, type JWTPayload } from 'jose'
import { z } from 'zod'
import type { HttpRequest } from '../http.ts'
import { AadstsError } from './aadsts.ts'
import { issuerOf, type Authority } from './authority.ts'
import type { FederatedCredential } from './app-credentials.ts'
import type { CredentialStore } from './credentials.ts'

export const assertionType = 'urn:ietf:params:oauth:client-assertion-type:jwt-bearer'

const maxLifeSeconds = 10 * 60
/** What Entra overlooks between two clocks. */
const skewSeconds = 5 * 60

const ownAssertion = z.looseObject({
  iss: z.string(),
  sub: z.string(),
  aud: z.string(),
  exp: z.number(),
  jti: z.string(),
})

/** What the request says about who asks, to be held against an assertion. */
export type AssertedClient = {
  authority: Authority
  request: HttpRequest
  clientId: string
  credentials: CredentialStore
}

/**
 * Proves a client by a JWT it signed with its certificate's key, or by another issuer's that is registered for it (Entra
 * docs: certificate-credentials, workload-identity-federation).
 */
export async function checkAssertion(asked: AssertedClient, assertion: string): Promise<void> {
  const issuer = read(() => decodeJwt(assertion)).iss
  if (issuer === asked.clientId) return await checkOwn(asked, assertion)
  const federated = asked.credentials.federated()
  if (federated.length === 0) throw new AadstsError(700021)
  await checkFederated(asked, assertion, federated)
}

async function checkOwn(asked: AssertedClient, assertion: string): Promise<void> {
  const { authority, clientId, credentials } = asked
  const header = read(() => decodeProtectedHeader(assertion))
  const names = [header['x5t#S256'], header.x5t, header.kid].filter((name) => typeof name === 'string')
  if (names.length === 0) throw new AadstsError(5002723)
  const certificate = names.map((name) => credentials.certificate(name)).find((found) => found !== undefined)
  if (!certificate) throw new AadstsError(700027)
  if (certificate.expiresAt <= authority.now()) throw new AadstsError(700027)
  const currentDate = new Date(authority.now())
  const payload = await verified(() =>
    jwtVerify(assertion, createPublicKey(certificate.publicKey), {
      algorithms: ['RS256', 'PS256'],
      currentDate,
      clockTolerance: skewSeconds,
    }),
  )
  const claims = ownAssertion.safeParse(payload)
  if (!claims.success) throw new AadstsError(50027, claims.error.issues[0]?.path.join('.') ?? '')
  const { sub, aud, exp, jti } = claims.data
  if (sub !== clientId) throw new AadstsError(700021)
  if (!audiencesOf(asked).includes(aud)) throw new AadstsError(700023)
  if (exp > authority.now() / 1000 + maxLifeSeconds + skewSeconds) throw new AadstsError(700024)
  if (!authority.assertionIds.use(`${clientId} ${jti}`, exp * 1000)) throw new AadstsError(50027, 'jti')
}

/**
 * The token endpoint under each name of the tenant, which is what the docs and `@azure/identity` write, and the issuer,
 * which OpenID clients write (RFC 7523bis) and Entra takes as well.
 */
function audiencesOf({ authority, request }: AssertedClient): string[] {
  const { tenantId, domain } = authority.directory
  const asked = request.path.split('/')[1] ?? ''
  const endpoints = [tenantId, domain, asked].map((name) => `${request.baseUrl}/${name}/oauth2/v2.0/token`)
  return [...endpoints, issuerOf(authority, request.baseUrl), `${request.baseUrl}/${asked}/v2.0`]
}

/** Entra has a code for each part that doesn't match (recorded from the service: 700211 to 700213). */
async function checkFederated(
  { authority }: AssertedClient,
  assertion: string,
  registered: readonly Required<FederatedCredential>[],
): Promise<void> {
  const { iss = '', sub = '', aud } = read(() => decodeJwt(assertion))
  const issued = registered.filter(({ issuer }) => issuer === iss)
  if (issued.length === 0) throw new AadstsError(700211, iss)
  const credential = issued.find(({ subject }) => subject === sub)
  if (!credential) throw new AadstsError(700213, sub)
  if (![aud].flat().includes(credential.audience)) throw new AadstsError(700212, String(aud))
  const currentDate = new Date(authority.now())
  await verified(() =>
    jwtVerify(assertion, createLocalJWKSet(credential.jwks), {
      algorithms: ['RS256', 'PS256', 'ES256'],
      requiredClaims: ['exp'],
      currentDate,
      clockTolerance: skewSeconds,
    }),
  )
}

function read<T>(decode: () => T): T {
  try {
    return decode()
  } catch {
    throw new AadstsError(50027, 'client_assertion')
  }
}

async function verified(verify: () => Promise<{ payload: JWTPayload }>): Promise<JWTPayload> {
  try {
    return (await verify()).payload
  } catch (error) {
    if (error instanceof errors.JWTExpired) throw new AadstsError(700024)
    if (error instanceof errors.JWTClaimValidationFailed && error.claim === 'nbf')
      throw new AadstsError(700024)
    if (error instanceof errors.JWTClaimValidationFailed) throw new AadstsError(50027, error.claim)
    if (error instanceof errors.JOSEError) throw new AadstsError(700027)
    throw error
  }
}

/** Ids of assertions, each good for one use. */
export type AssertionIds = { use(id: string, until: number): boolean; clear(): void }

/** Remembers ids until their assertions are over by themselves. */
export function createAssertionIds(now: () => number): AssertionIds {
  const used = new Map<string, number>()
  return {
    use(id, until) {
      for (const [known, end] of used) if (end + skewSeconds * 1000 < now()) used.delete(known)
      if (used.has(id)) return false
      used.set(id, until)
      return true
    },
    clear: () => used.clear(),
  }
}
