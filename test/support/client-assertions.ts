import { createHash, generateKeyPairSync, X509Certificate, type KeyObject } from 'node:crypto'
import { SignJWT } from 'jose'
import { certificateFor } from '../../src/simulator/certificates.ts'
import type { Simulator } from '../../src/simulator/index.ts'
import { authorityOf } from './entra-requests.ts'

export const assertionType = 'urn:ietf:params:oauth:client-assertion-type:jwt-bearer'

export type OwnCertificate = { privateKey: KeyObject; publicKey: KeyObject; pem: string; pemWithKey: string }

/** A key pair with a certificate, as an administrator uploads it. */
export function ownCertificate(): OwnCertificate {
  const { privateKey, publicKey } = generateKeyPairSync('rsa', { modulusLength: 2048 })
  const pem = certificateFor('group sync', publicKey).toString()
  const key = privateKey.export({ type: 'pkcs8', format: 'pem' }).toString()
  return { privateKey, publicKey, pem, pemWithKey: `${key}${pem}` }
}

export function thumbprint(pem: string, hash: 'sha1' | 'sha256'): string {
  return createHash(hash).update(new X509Certificate(pem).raw).digest('base64url')
}

/** A client assertion as the docs describe it; `claims` and `header` replace parts of it. */
export async function clientAssertion(
  simulator: Simulator,
  certificate: OwnCertificate,
  {
    claims = {},
    header = {},
    now = Date.now(),
  }: { claims?: Record<string, unknown>; header?: Record<string, unknown>; now?: number } = {},
): Promise<string> {
  const clientId = simulator.apps[0]?.clientId ?? ''
  const at = Math.floor(now / 1000)
  const body = {
    aud: `${authorityOf(simulator)}/oauth2/v2.0/token`,
    iss: clientId,
    sub: clientId,
    jti: crypto.randomUUID(),
    nbf: at,
    iat: at,
    exp: at + 300,
    ...claims,
  }
  const named = { alg: 'RS256', typ: 'JWT', x5t: thumbprint(certificate.pem, 'sha1'), ...header }
  return new SignJWT(body).setProtectedHeader(named).sign(certificate.privateKey)
}
