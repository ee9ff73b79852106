import { createHash, generateKeyPair, type KeyObject } from 'node:crypto'
import { promisify } from 'node:util'
import { exportJWK, SignJWT, type JWK, type JWTPayload } from 'jose'
import { certificateFor } from '../certificates.ts'

/** The tenant's RS256 keys: the newest signs, older ones stay published so that their tokens still verify. */
export type SigningKeys = {
  sign(claims: JWTPayload): Promise<string>
  published(): readonly JWK[]
  /** The key of personal accounts, which signs for their tenant and for no other. */
  consumers(): JWK
  rotate(): Promise<void>
}

/** The tenant of all personal accounts (Entra docs: v2-protocols-oidc). */
export const consumerTenant = '9188040d-6c67-4c5b-b112-36a304b66dad'

type SigningKey = { privateKey: KeyObject; jwk: JWK; kid: string }

const publishedKeys = 3

/** Makes the first key. */
export async function createSigningKeys(): Promise<SigningKeys> {
  let keys = [await createSigningKey()]
  const consumers = await createSigningKey()
  return {
    async sign(claims) {
      const [newest] = keys
      if (!newest) throw new Error('the simulated tenant has no signing key')
      const header = { typ: 'JWT', alg: 'RS256', kid: newest.kid }
      return new SignJWT(claims).setProtectedHeader(header).sign(newest.privateKey)
    },
    published: () => keys.map((key) => key.jwk),
    consumers: () => consumers.jwk,
    async rotate() {
      keys = [await createSigningKey(), ...keys].slice(0, publishedKeys)
    },
  }
}

async function createSigningKey(): Promise<SigningKey> {
  const { privateKey, publicKey } = await promisify(generateKeyPair)('rsa', { modulusLength: 2048 })
  const certificate = certificateFor('accounts.accesscontrol.example', publicKey).raw
  // Entra names a key by its certificate's SHA-1 thumbprint, in both `kid` and `x5t`.
  const kid = createHash('sha1').update(certificate).digest('base64url')
  const jwk: JWK = {
    ...(await exportJWK(publicKey)),
    use: 'sig',
    kid,
    x5t: kid,
    x5c: [certificate.toString('base64')],
  }
  return { privateKey, kid, jwk }
}
