import type { Directory } from '../directory/store.ts'
import type { FaultSource } from '../faults.ts'
import { AadstsError } from './aadsts.ts'
import type { SimulatedApp } from './apps.ts'
import type { Challenges } from './challenges.ts'
import type { SigningKeys } from './signing-keys.ts'
import type { Tokens } from './tokens.ts'

/** What the Entra endpoints share. */
export type Authority = {
  directory: Directory
  apps: readonly SimulatedApp[]
  keys: SigningKeys
  tokens: Tokens
  codes: Map<string, AuthorizationCode>
  faults: FaultSource
  challenges: Challenges
  /** Object ids of users who may not use any app. */
  unassigned: Set<string>
  now: () => number
  /** Graph's base URLs, http and https: clients may spell Graph scopes with them. */
  graphUrls: () => readonly string[]
}

/** A code waiting to be redeemed; kept after that, so that a second use can be told from an unknown code. */
export type AuthorizationCode = {
  clientId: string
  userId: string
  redirectUri: string
  scope: string
  nonce: string | undefined
  challenge: string | undefined
  cp1: boolean
  sessionId: string
  expiresAt: number
  redeemed: boolean
}

/**
 * The tenant named in a path: its id or verified domain. The one place that would learn `common` and
 * `organizations`.
 */
export function assertTenant(authority: Authority, name: string): void {
  const { tenantId, domain } = authority.directory
  if (name.toLowerCase() !== tenantId && name.toLowerCase() !== domain) throw new AadstsError(90002, name)
}

export function findApp(authority: Authority, clientId: string | undefined): SimulatedApp {
  if (clientId === undefined || clientId === '') throw new AadstsError(900144, 'client_id')
  const app = authority.apps.find((each) => each.clientId === clientId)
  if (!app) throw new AadstsError(700016, clientId, authority.directory.displayName)
  return app
}

/** The v2 issuer as seen by whoever asked; it equals the discovery document's. */
export function issuerOf(authority: Authority, baseUrl: string): string {
  return `${baseUrl}/${authority.directory.tenantId}/v2.0`
}
