import { clearDirectory, createDirectory } from './directory/store.ts'
import { createDirectoryIndex, type IndexLag } from './directory/index-lag.ts'
import { generateTenant } from './directory/generate.ts'
import { tenantOf, type Tenant } from './directory/tenant.ts'
import { administrationOf, type EntraAdministration } from './entra/administration.ts'
import { defaultApp, type SimulatedApp } from './entra/apps.ts'
import type { Authority } from './entra/authority.ts'
import { createSigningKeys } from './entra/signing-keys.ts'
import { createChallenges } from './entra/challenges.ts'
import { createTokens } from './entra/tokens.ts'
import { createFaults, type Faults } from './faults.ts'
import type { GraphTenant } from './graph-api/call.ts'
import { createThrottling, type Throttle, type ThrottleSettings } from './graph-api/throttling.ts'
import { createHandlers } from './handlers.ts'
import { openListeners } from './listeners.ts'
import { createRequestLog, type RequestLog } from './request-log.ts'

export { defaultApp, defaultClientId, defaultClientSecret, type SimulatedApp } from './entra/apps.ts'
export type {
  AdministrativeUnit,
  Container,
  DirectoryObject,
  DirectoryRole,
  Group,
  User,
} from './directory/objects.ts'
export type { IndexLag } from './directory/index-lag.ts'
export type { GroupKind, NewGroup } from './directory/new-group.ts'
export type { NewUser } from './directory/new-user.ts'
export type { Tenant } from './directory/tenant.ts'
export type { AadstsCode } from './entra/error-codes.ts'
export type { DelegatedTokens } from './entra/issuing.ts'
export { faultsOf } from './fault-catalogue.ts'
export type { Fault, FaultHandle, Faults, FaultTarget, TokenError, TokenErrorTarget } from './faults.ts'
export type {
  RetryAfterStyle,
  Throttle,
  ThrottleSettings,
  ThrottleStatistics,
} from './graph-api/throttling.ts'
export type { LoggedRequest, RequestLog } from './request-log.ts'

/** What a simulated tenant starts from; the same seed gives the same tenant, ids included. */
export type SimulatorSeed = {
  /** Default 1. */
  seed?: number
  /** Default 250; 0 starts an empty tenant when `groups` is 0 too. */
  users?: number
  /** Default grows with the users, and gives one user in 250 more than 999 groups. */
  groups?: number
  tenantId?: string
  /** Default: one app, `defaultApp`. */
  apps?: readonly SimulatedApp[]
  /** Default 127.0.0.1. */
  host?: string
  /** Default 0: any free port. */
  ports?: { entra?: number; graph?: number; entraHttps?: number; graphHttps?: number }
  /** Default 60–90 minutes, drawn for each token as Entra does. */
  accessTokenLifetimeSeconds?: number
  /** Also listen with TLS, under a certificate authority made for this run. Default true. */
  https?: boolean
  /** What a member's own lists show of groups with hidden membership, lacking Member.Read.Hidden. Default omitted. */
  hiddenMembership?: 'omitted' | 'shown'
  /** Default: costs are counted, nothing is refused. */
  throttle?: ThrottleSettings
  /** How long a change takes to show in reads with `ConsistencyLevel: eventual`. Default 0: at once. */
  indexLagMs?: number
  /** The simulator's clock in milliseconds; default `Date.now`. */
  now?: () => number
  /** How many of the newest requests, and of the newest tokens, are kept to look at. Default 10,000; 0 keeps none. */
  keep?: number
}

export type Simulator = EntraAdministration & {
  /** The authority host, http, without trailing slash. */
  entraUrl: string
  /** Microsoft Graph, http, without version or trailing slash: another origin than `entraUrl`. */
  graphUrl: string
  /** The same two over TLS, and the PEM certificate a client must trust. */
  https: { entraUrl: string; graphUrl: string; caCertificate: string } | undefined
  tenant: Tenant
  apps: readonly SimulatedApp[]
  faults: Faults
  throttle: Throttle
  lag: IndexLag
  requests: RequestLog
  /** Directory, its index, tokens, faults, throttling and log back to the start; addresses and signing keys stay. */
  reset(): void
  close(): Promise<void>
}

/** Starts a stand-in for one Entra tenant and Microsoft Graph on loopback ports. */
export async function startSimulator(options: SimulatorSeed = {}): Promise<Simulator> {
  const { seed = 1, host = '127.0.0.1', keep = 10_000, now = Date.now } = options
  const directory = createDirectory(seed, options.tenantId)
  const index = createDirectoryIndex(directory, now)
  const tenant = tenantOf(index.source)
  const size = { seed, users: options.users ?? 250, groups: options.groups }
  generateTenant(tenant, size)
  index.set(options.indexLagMs ?? 0)

  const apps = options.apps ?? [defaultApp]
  const tokens = createTokens({ seed, now, keep, lifetimeSeconds: options.accessTokenLifetimeSeconds })
  const faults = createFaults()
  const throttling = createThrottling({
    tenantId: directory.tenantId,
    appIds: apps.map(({ clientId }) => clientId),
    now,
    settings: options.throttle,
  })
  const requests = createRequestLog(keep, now)
  const keys = await createSigningKeys()
  const graphUrls: string[] = []
  const codes: Authority['codes'] = new Map()
  const unassigned = new Set<string>()
  const challenges = createChallenges()
  const authority = {
    directory,
    apps,
    keys,
    tokens,
    codes,
    unassigned,
    challenges,
    faults,
    now,
    graphUrls: () => graphUrls,
  }
  const graph: GraphTenant = {
    directory,
    index: () => index.current(),
    tokens,
    challenges,
    now,
    throttling,
    hiddenMembership: options.hiddenMembership ?? 'omitted',
  }

  const handlers = createHandlers({ authority, graph, faults, requests })
  const listeners = await openListeners(handlers, host, options.ports ?? {}, options.https ?? true)
  graphUrls.push(listeners.graphUrl, ...(listeners.https ? [listeners.https.graphUrl] : []))

  return {
    entraUrl: listeners.entraUrl,
    graphUrl: listeners.graphUrl,
    https: listeners.https,
    tenant,
    apps,
    faults,
    throttle: throttling,
    lag: index,
    requests,
    ...administrationOf(authority, tenant, listeners.entraUrl),
    reset() {
      index.set(0)
      index.catchUp()
      clearDirectory(directory, seed)
      generateTenant(tenant, size)
      index.set(options.indexLagMs ?? 0)
      tokens.reset()
      codes.clear()
      challenges.clear()
      unassigned.clear()
      faults.clear()
      throttling.restart()
      requests.clear()
    },
    close: () => listeners.close(),
  }
}
