import type { ClientSecret, FederatedCredential } from './app-credentials.ts'

/** One app registration of the simulated tenant, with the consent an administrator gave it. */
export type SimulatedApp = {
  clientId: string
  /** Left out for a public client. */
  clientSecret?: string
  /** More secrets, each with or without an end: 7000222 is answered for one that is over, 7000215 for an unknown one. */
  clientSecrets?: readonly ClientSecret[]
  /** PEM certificates whose keys may sign client assertions. */
  certificates?: readonly string[]
  /** Issuers whose tokens prove this app. */
  federated?: readonly FederatedCredential[]
  displayName?: string
  /**
   * Matched exactly, except that `http://localhost` URIs match on any port, as in Entra (Entra docs: reply-url,
   * localhost exceptions). The path may end in `<slug>` as a wildcard for one path segment; Entra has no such thing.
   */
  redirectUris: readonly string[]
  /** Delegated scopes consented for everybody; scopes users may consent to themselves need not be listed. */
  delegatedScopes: readonly string[]
  /** Graph application permissions consented for the app itself. */
  applicationRoles: readonly string[]
  /** Loaded with `iss` and `sid` when a browser signs out in which somebody signed in to this app. */
  frontChannelLogoutUri?: string
  /** Whether people of other tenants sign in to it, and at `organizations` and `common`. Default false. */
  multiTenant?: boolean
  /** Scopes of this app's own API: a client asks for `api://<client id>/<scope>`. */
  exposedScopes?: readonly string[]
  /** App roles of this app's own API that app-only tokens for it carry. */
  ownRoles?: readonly string[]
  /** `requestedAccessTokenVersion` of its API. Default 2. */
  accessTokenVersion?: 1 | 2
  /** Whether its API asks for the optional claim `idtyp`, which says that a token is an app's own. Default false. */
  idTypeClaim?: boolean
}

/** An app, and what it proved itself with at the token endpoint; undefined where it didn't come there. */
export type KnownApp = SimulatedApp & { proof?: 'none' | 'secret' | 'assertion' }

/** The claim `azpacr` or `appidacr` (Entra docs: access-token-claims-reference). */
export function proofClaim({ proof, clientSecret }: KnownApp): '0' | '1' | '2' {
  if (proof === 'assertion') return '2'
  return proof === 'secret' || (proof === undefined && clientSecret !== undefined) ? '1' : '0'
}

export const defaultClientId = '5f1d0f3a-7c62-4b8e-9a41-2d6c8e0b7a15'
export const defaultClientSecret = 'simulated~client.secret-of_the.default-app'

/** The app a simulator has when none is given: what this project asks an administrator to register. */
export const defaultApp: SimulatedApp = {
  clientId: defaultClientId,
  clientSecret: defaultClientSecret,
  displayName: 'Group sync',
  redirectUris: [
    'http://localhost/source/oauth/callback/<slug>/',
    'http://127.0.0.1/source/oauth/callback/<slug>/',
    'https://localhost/source/oauth/callback/<slug>/',
  ],
  delegatedScopes: ['openid', 'profile', 'email', 'offline_access', 'User.Read', 'GroupMember.Read.All'],
  applicationRoles: ['User.Read.All', 'GroupMember.Read.All'],
  exposedScopes: ['access_as_user'],
}

const loopbackHosts = new Set(['localhost', '127.0.0.1', '[::1]'])

/** Whether Entra would send a code to this URI. */
export function isRegisteredRedirectUri(app: SimulatedApp, uri: string): boolean {
  if (app.redirectUris.includes(uri)) return true
  if (!URL.canParse(uri)) return false
  return app.redirectUris.some(
    (registered) => URL.canParse(registered) && matches(new URL(registered), new URL(uri)),
  )
}

function matches(registered: URL, asked: URL): boolean {
  if (asked.hash !== '' || asked.username !== '' || asked.password !== '') return false
  if (registered.protocol !== asked.protocol || registered.hostname !== asked.hostname) return false
  const anyPort = loopbackHosts.has(registered.hostname) && registered.port === ''
  if (!anyPort && registered.port !== asked.port) return false
  return registered.search === asked.search && pathMatches(registered.pathname, asked.pathname)
}

function pathMatches(registered: string, asked: string): boolean {
  const wanted = registered.split('/')
  const given = asked.split('/')
  if (wanted.length !== given.length) return false
  return wanted.every((segment, index) =>
    segment === '%3Cslug%3E' ? /^[\w.-]+$/.test(given[index] ?? '') : segment === given[index],
  )
}
