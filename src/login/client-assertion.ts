import { createHash, createPrivateKey, randomUUID, X509Certificate, type KeyObject } from 'node:crypto'
import { open, stat } from 'node:fs/promises'
import { SignJWT } from 'jose'
import type { Credential } from '../source-config.ts'
import { CredentialRefused } from './entra-error.ts'

/** What a token request carries besides the client id: RFC 6749, 2.3.1, or RFC 7523, 2.2. */
export type ClientProof =
  | { client_secret: string }
  | { client_assertion_type: typeof assertionType; client_assertion: string }

/**
 * Makes the proof for one request to that token endpoint.
 * @throws {CredentialRefused} for a federated token that can't be read: `token_file_unreadable`.
 */
export type Prove = (tokenEndpoint: string) => Promise<ClientProof>

const assertionType = 'urn:ietf:params:oauth:client-assertion-type:jwt-bearer'

/** Seconds; Entra takes 10 minutes at most. Long enough for a clock that is behind. */
const assertionLifetime = 5 * 60

/**
 * Reads what can be read now: a certificate and its key. A federated token is read for each request.
 * @throws {Error} with what is wrong with them, and nothing of them.
 */
export function createProof(credential: Credential, clientId: string): Prove {
  if (credential.kind === 'secret') {
    const { secret } = credential
    return () => Promise.resolve({ client_secret: secret })
  }
  if (credential.kind === 'federated') {
    const { tokenFile } = credential
    return async () => asProof(await readToken(tokenFile))
  }
  const { key, thumbprint } = signingKey(credential.certificate, credential.privateKey)
  return async (tokenEndpoint) => {
    const now = Math.floor(Date.now() / 1000)
    // As @azure/identity does; Entra's page still shows RS256 with the SHA-1 thumbprint (certificate-credentials).
    const assertion = new SignJWT({ jti: randomUUID() })
      .setProtectedHeader({ alg: 'PS256', typ: 'JWT', 'x5t#S256': thumbprint })
      .setAudience(tokenEndpoint)
      .setIssuer(clientId)
      .setSubject(clientId)
      .setIssuedAt(now)
      .setNotBefore(now)
      .setExpirationTime(now + assertionLifetime)
    return asProof(await assertion.sign(key))
  }
}

const asProof = (assertion: string): ClientProof => ({
  client_assertion_type: assertionType,
  client_assertion: assertion,
})

function signingKey(certificate: string, privateKey: string): { key: KeyObject; thumbprint: string } {
  const key = attempt(() => createPrivateKey(privateKey), 'its private key is not PEM without a password')
  const { asymmetricKeyType: type, asymmetricKeyDetails: details } = key
  if (type !== 'rsa' || (details?.modulusLength ?? 0) < 2048)
    throw new Error('its private key is not RSA of 2048 bits or more, which is what Entra takes')
  const x509 = attempt(() => new X509Certificate(certificate), 'its certificate is not PEM')
  if (!x509.checkPrivateKey(key)) throw new Error('its private key is not the one of its certificate')
  return { key, thumbprint: createHash('sha256').update(x509.raw).digest('base64url') }
}

/** OpenSSL's own words help nobody, and quote. */
function attempt<Value>(parse: () => Value, message: string): Value {
  try {
    return parse()
  } catch {
    throw new Error(message)
  }
}

/** When a certificate ends, which it says itself; of the others only who made them knows. */
export function knownEnd(credential: Credential): Date | undefined {
  const told =
    credential.expiresAt ??
    (credential.kind === 'certificate' ? new X509Certificate(credential.certificate).validTo : undefined)
  const end = new Date(told ?? Number.NaN)
  return Number.isNaN(end.getTime()) ? undefined : end
}

/** Bytes: several times what issuers write. */
const maxTokenSize = 16 * 1024

/** A JWT in its compact form and nothing else: whatever is in that file is sent to Entra. */
const jwt = /^[\w-]+\.[\w-]+\.[\w-]+$/

async function readToken(path: string): Promise<string> {
  const refused = (what: string) =>
    new CredentialRefused('token_file_unreadable', `the federated token file ${path} ${what}`)
  const text = await readStart(path).catch((error: unknown) => {
    const code = error instanceof Error && 'code' in error ? String(error.code) : 'unknown error'
    throw refused(`can't be read (${code})`)
  })
  if (text.length > maxTokenSize) throw refused(`has more than ${maxTokenSize} bytes`)
  const token = text.toString('utf8').trim()
  if (token === '') throw refused('is empty, or no file')
  if (!jwt.test(token)) throw refused('holds no JWT')
  return token
}

/** One byte more than it may have, at most; nothing of what isn't a file, since a pipe could be waited for. */
async function readStart(path: string): Promise<Buffer> {
  if (!(await stat(path)).isFile()) return Buffer.alloc(0)
  const file = await open(path)
  try {
    const { buffer, bytesRead } = await file.read(Buffer.alloc(maxTokenSize + 1), 0, maxTokenSize + 1, 0)
    return buffer.subarray(0, bytesRead)
  } finally {
    await file.close()
  }
}
