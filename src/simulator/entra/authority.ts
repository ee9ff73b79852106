import { findUser, type Directory } from '../directory/store.ts'
import type { User } from '../directory/objects.ts'
import type { FaultSource } from '../faults.ts'
import { AadstsError } from './aadsts.ts'
import type { SimulatedApp } from './apps.ts'
import type { Challenges } from './challenges.ts'
import type { AssertionIds } from './client-assertion.ts'
import type { Consents } from './consents.ts'
import type { Refusals } from './refusals.ts'
import type { CredentialStore } from './credentials.ts'
import type { Sessions } from './session.ts'
import type { SigningKeys } from './signing-keys.ts'
import type { Tokens } from './tokens.ts'

/** What all tenants of one authority host share. */
export type EntraHost = {
  /** The tenants on this host; the apps are registered in the first. */
  tenants: Authority[]
  apps: readonly SimulatedApp[]
  /** Of an app that is registered. */
  credentialsOf: (clientId: string) => CredentialStore
  assertionIds: AssertionIds
  keys: SigningKeys
  tokens: Tokens
  codes: Map<string, AuthorizationCode>
  faults: FaultSource
  challenges: Challenges
  /** Object ids of users who may not use any app. */
  unassigned: Set<string>
  refusals: Refusals
  sessions: Sessions
  now: () => number
  /** Graph's base URLs, http and https: clients may spell Graph scopes with them. */
  graphUrls: () => readonly string[]
}

/** What the Entra endpoints see of one tenant. */
export type Authority = EntraHost & {
  directory: Directory
  consents: Consents
  /** Set where the path named no tenant: whose user it is says which one; until then this is the first. */
  shared?: SharedName
}

export type SharedName = 'common' | 'organizations'

/** A code waiting to be redeemed; kept after that, so that a second use can be told from an unknown code. */
export type AuthorizationCode = {
  tenantId: string
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

/** The tenant named in a path: its id or verified domain, or one of the names that all share. */
export function authorityNamed(host: EntraHost, name: string): Authority {
  const wanted = name.toLowerCase()
  const found = host.tenants.find(
    ({ directory }) => wanted === directory.tenantId || wanted === directory.domain,
  )
  if (found) return found
  const [first] = host.tenants
  if (first && (wanted === 'common' || wanted === 'organizations')) return { ...first, shared: wanted }
  throw new AadstsError(90002, name)
}

export function findApp(authority: Authority, clientId: string | undefined): SimulatedApp {
  if (clientId === undefined || clientId === '') throw new AadstsError(900144, 'client_id')
  const { directory, tenants, apps, shared } = authority
  const app = apps.find((each) => each.clientId === clientId)
  const elsewhere = directory !== tenants[0]?.directory
  if (!app || (elsewhere && app.multiTenant !== true))
    throw new AadstsError(700016, clientId, directory.displayName)
  if (shared && app.multiTenant !== true) throw new AadstsError(50194, clientId, shared)
  return app
}

/** The v2 issuer as seen by whoever asked; it equals the discovery document's. */
export function issuerOf({ shared, directory }: Authority, baseUrl: string): string {
  return `${baseUrl}/${shared ? '{tenantid}' : directory.tenantId}/v2.0`
}

/** The issuer of tokens of version 1.0, whatever host is asked (Entra docs: access-tokens). */
export function firstVersionIssuer({ shared, directory }: Authority): string {
  return `https://sts.windows.net/${shared ? '{tenantid}' : directory.tenantId}/`
}

export type Account = { home: Authority; user: User }

/** The user with an id or user principal name: of this tenant, or where the path named none, of any. */
export function findAccount(authority: Authority, key: string): Account | undefined {
  for (const home of authority.shared ? authority.tenants : [authority]) {
    const user = findUser(home.directory, key)
    if (user) return { home, user }
  }
  return undefined
}

/**
 * The guest that somebody of another tenant is here. Whose home doesn't know this tenant is refused as Entra does: the
 * account exists, but not in this tenant.
 */
export function findGuest(authority: Authority, key: string): Account | undefined {
  for (const other of authority.tenants) {
    const person = other.directory === authority.directory ? undefined : findUser(other.directory, key)
    if (!person) continue
    const name = `${person.userPrincipalName.replace('@', '_')}#EXT#@${authority.directory.domain}`
    const user = findUser(authority.directory, name)
    if (user) return { home: authority, user }
    throw new AadstsError(50020, person.userPrincipalName, authority.directory.displayName)
  }
  return undefined
}
