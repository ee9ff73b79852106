import { createHash, createHmac, generateKeyPair, sign as signBytes, type KeyObject } from 'node:crypto'
import { promisify } from 'node:util'
import { exportJWK, SignJWT, type JWK, type JWTPayload } from 'jose'
import { certificateFor } from '../certificates.ts'
import type { IdTokenFault, IdTokenSigner } from '../id-token-faults.ts'

/** A key that was added to the key sets beside those that sign. */
export type PublishedKey = { kid: string; withdraw(): void }

/** A key as key sets have it; one with an issuer of its own is good for that issuer only. */
type ListedKey = JWK & { issuer?: string }

/** The host's RS256 keys: the newest signs, older ones stay published so that their tokens still verify. */
export type SigningKeys = {
  sign(claims: JWTPayload): Promise<string>
  /** An ID token that is wrong as told; undefined for none at all. */
  spoil(claims: JWTPayload, fault: IdTokenFault): Promise<string | undefined>
  published(): readonly ListedKey[]
  /** The key of personal accounts, which signs for their tenant and for no other. */
  consumers(): Promise<JWK>
  rotate(): Promise<void>
  publish(issuer?: string): Promise<PublishedKey>
}

/** The tenant of all personal accounts (Entra docs: v2-protocols-oidc). */
export const consumerTenant = '9188040d-6c67-4c5b-b112-36a304b66dad'

type SigningKey = { privateKey: KeyObject; publicKey: KeyObject; jwk: JWK; kid: string }

const publishedKeys = 3

/** Makes the first keys. */
export async function createSigningKeys(): Promise<SigningKeys> {
  let keys = [await createSigningKey()]
  let extra: (SigningKey & { issuer: string | undefined })[] = []
  // Made when they are wanted: most tests want neither, and a key takes a while.
  const consumers = once(createSigningKey)
  const unpublished = once(createSigningKey)
  const newest = (): SigningKey => {
    const [first] = keys
    if (!first) throw new Error('the simulated tenant has no signing key')
    return first
  }
  return {
    async sign(claims) {
      const { kid, privateKey } = newest()
      return new SignJWT(claims).setProtectedHeader({ typ: 'JWT', alg: 'RS256', kid }).sign(privateKey)
    },
    async spoil(claims, fault) {
      const named = extra.find(({ kid }) => kid === fault.signedBy)
      const signers = {
        tenant: newest(),
        consumers: await consumers(),
        unpublished: await unpublished(),
        named,
      }
      const token = spoiled(claims, fault, signers)
      return fault.raw ? fault.raw(token) : token
    },
    published: () => [
      ...keys.map(({ jwk }) => jwk),
      ...extra.map(({ jwk, issuer }) => (issuer === undefined ? jwk : { ...jwk, issuer })),
    ],
    consumers: async () => (await consumers()).jwk,
    async rotate() {
      keys = [await createSigningKey(), ...keys].slice(0, publishedKeys)
    },
    async publish(issuer) {
      const added = { ...(await createSigningKey()), issuer }
      extra.push(added)
      return {
        kid: added.kid,
        withdraw() {
          extra = extra.filter((each) => each !== added)
        },
      }
    },
  }
}

type Signers = {
  tenant: SigningKey
  consumers: SigningKey
  unpublished: SigningKey
  named: SigningKey | undefined
}

/** Put together by hand: no library signs what must not be signed. */
function spoiled(claims: JWTPayload, fault: IdTokenFault, signers: Signers): string {
  const { header, sign } = signing(fault.signedBy ?? 'tenant', signers)
  const wholeHeader = { typ: 'JWT', ...header }
  const head = encode(fault.header ? fault.header(wholeHeader) : wholeHeader)
  const body = encode(fault.claims ? fault.claims(claims) : claims)
  const signed = fault.signedBy === 'tampered' ? `${head}.${encode(claims)}` : `${head}.${body}`
  return `${head}.${body}.${sign(signed).toString('base64url')}`
}

function signing(
  by: IdTokenSigner | (string & {}),
  { tenant, consumers, unpublished, named }: Signers,
): { header: { alg: string; kid: string }; sign: (text: string) => Buffer } {
  const rs256 = (key: SigningKey) => (text: string) => signBytes('sha256', Buffer.from(text), key.privateKey)
  switch (by) {
    case 'nobody':
      return { header: { alg: 'none', kid: tenant.kid }, sign: () => Buffer.alloc(0) }
    case 'public-key': {
      const secret = tenant.publicKey.export({ type: 'spki', format: 'pem' })
      const sign = (text: string): Buffer => createHmac('sha256', secret).update(text).digest()
      return { header: { alg: 'HS256', kid: tenant.kid }, sign }
    }
    case 'unpublished':
      return { header: { alg: 'RS256', kid: tenant.kid }, sign: rs256(unpublished) }
    case 'consumers':
      return { header: { alg: 'RS256', kid: consumers.kid }, sign: rs256(consumers) }
    case 'tenant':
    case 'tampered':
      return { header: { alg: 'RS256', kid: tenant.kid }, sign: rs256(tenant) }
    default: {
      if (!named) throw new Error(`no such signing key: ${by}`)
      return { header: { alg: 'RS256', kid: named.kid }, sign: rs256(named) }
    }
  }
}

function once<T>(make: () => Promise<T>): () => Promise<T> {
  let made: Promise<T> | undefined
  return () => (made ??= make())
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
  return { privateKey, publicKey, kid, jwk }
}

function encode(value: object): string {
  return Buffer.from(JSON.stringify(value), 'utf8').toString('base64url')
}
