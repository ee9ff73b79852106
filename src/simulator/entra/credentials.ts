import { createHash, X509Certificate } from 'node:crypto'
import type { AppCredentials, ClientSecret, FederatedCredential } from './app-credentials.ts'
import type { SimulatedApp } from './apps.ts'

/** `publicKey` is PEM: a package's declarations must not need Node's. */
export type RegisteredCertificate = { names: ReadonlySet<string>; publicKey: string; expiresAt: number }

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
    publicKey: certificate.publicKey.export({ type: 'spki', format: 'pem' }).toString(),
    expiresAt: Date.parse(certificate.validTo),
  }
}
