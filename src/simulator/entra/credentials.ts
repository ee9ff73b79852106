import { createHash, createPublicKey, X509Certificate, type KeyObject } from 'node:crypto'
import type { JSONWebKeySet } from 'jose'
import type { SimulatedApp } from './apps.ts'

/** A secret of an app; without an end it is good for ever. */
export type ClientSecret = { value: string; expiresAt?: Date }

/** Whose tokens stand for an app: another issuer's, matched exactly, case included (Entra docs: workload-identity-federation). */
export type FederatedCredential = {
  issuer: string
  subject: string
  /** Default `api://AzureADTokenExchange`. */
  audience?: string
  /** The public keys that Entra would read at the issuer. */
  jwks: JSONWebKeySet
}

/** What an app proves itself with, to change while the simulator runs. Adding twice and removing nothing change nothing. */
export type AppCredentials = {
  addSecret(secret: string | ClientSecret): void
  removeSecret(value: string): void
  /** PEM; it may hold a private key too, which is not looked at. */
  addCertificate(pem: string): void
  removeCertificate(pem: string): void
  addFederated(credential: FederatedCredential): void
  removeFederated(credential: Pick<FederatedCredential, 'issuer' | 'subject'>): void
}

export type RegisteredCertificate = { names: ReadonlySet<string>; key: KeyObject; expiresAt: number }

export type CredentialStore = AppCredentials & {
  /** A client that was registered without any credential proves nothing; one that lost its last is no such client. */
  readonly isPublic: boolean
  secret(value: string): ClientSecret | undefined
  /** By thumbprint, as `x5t`, `x5t#S256` and `kid` spell it. */
  certificate(name: string): RegisteredCertificate | undefined
  federated(): readonly Required<FederatedCredential>[]
  /** Back to the registration. */
  reset(): void
}

const exchangeAudience = 'api://AzureADTokenExchange'

/** Starts with what the registration lists. */
export function createCredentials(app: SimulatedApp): CredentialStore {
  const secrets = new Map<string, ClientSecret>()
  const certificates = new Map<string, RegisteredCertificate>()
  const federated = new Map<string, Required<FederatedCredential>>()
  const store: CredentialStore = {
    isPublic:
      app.clientSecret === undefined &&
      [app.clientSecrets, app.certificates, app.federated].every((list) => (list ?? []).length === 0),
    addSecret: (secret) =>
      void (typeof secret === 'string'
        ? secrets.set(secret, { value: secret })
        : secrets.set(secret.value, secret)),
    removeSecret: (value) => void secrets.delete(value),
    addCertificate(pem) {
      const { fingerprint256 } = new X509Certificate(pem)
      certificates.set(fingerprint256, registered(new X509Certificate(pem)))
    },
    removeCertificate: (pem) => void certificates.delete(new X509Certificate(pem).fingerprint256),
    addFederated: (added) =>
      void federated.set(`${added.issuer} ${added.subject}`, { audience: exchangeAudience, ...added }),
    removeFederated: ({ issuer, subject }) => void federated.delete(`${issuer} ${subject}`),
    secret: (value) => secrets.get(value),
    certificate: (name) => [...certificates.values()].find(({ names }) => names.has(name)),
    federated: () => [...federated.values()],
    reset() {
      for (const kept of [secrets, certificates, federated]) kept.clear()
      if (app.clientSecret !== undefined) store.addSecret(app.clientSecret)
      for (const each of app.clientSecrets ?? []) store.addSecret(each)
      for (const each of app.certificates ?? []) store.addCertificate(each)
      for (const each of app.federated ?? []) store.addFederated(each)
    },
  }
  store.reset()
  return store
}

/** Entra shows a thumbprint in hexadecimal, tokens carry it in base64url; a `kid` may be either. */
function registered(certificate: X509Certificate): RegisteredCertificate {
  const sha1 = createHash('sha1').update(certificate.raw)
  const sha256 = createHash('sha256').update(certificate.raw).digest('base64url')
  const hex = sha1.copy().digest('hex')
  return {
    names: new Set([sha1.digest('base64url'), sha256, hex, hex.toUpperCase()]),
    key: createPublicKey(certificate.publicKey.export({ type: 'spki', format: 'pem' })),
    expiresAt: Date.parse(certificate.validTo),
  }
}
