import type { JSONWebKeySet } from 'jose'

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
