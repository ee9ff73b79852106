import type { IndexLag } from './directory/index-lag.ts'
import type { Tenant } from './directory/tenant.ts'
import { administrationOf, type EntraAdministration } from './entra/administration.ts'
import { defaultApp, type SimulatedApp } from './entra/apps.ts'
import { createEntraHost } from './entra/host.ts'
import { createFaults, type Faults } from './faults.ts'
import type { DeltaControl, DeltaSettings } from './graph-api/delta-settings.ts'
import type { NotificationControl, NotificationSettings } from './notifications/settings.ts'
import type { Throttle, ThrottleSettings } from './graph-api/throttling.ts'
import { createHandlers } from './handlers.ts'
import { openListeners } from './listeners.ts'
import { createRequestLog, type RequestLog } from './request-log.ts'
import { addTenant, type SimulatedTenant, type TenantPlan } from './simulated-tenant.ts'

export { defaultApp, defaultClientId, defaultClientSecret, type SimulatedApp } from './entra/apps.ts'
export type {
  AdministrativeUnit,
  Container,
  Device,
  DirectoryObject,
  DirectoryRole,
  Group,
  ServicePrincipal,
  User,
} from './directory/objects.ts'
export type { IndexLag } from './directory/index-lag.ts'
export type { Mutation, MutationName } from './directory/mutations.ts'
export type { GroupKind, NewGroup } from './directory/new-group.ts'
export type { NewUser } from './directory/new-user.ts'
export type { Tenant } from './directory/tenant.ts'
export type { Consent } from './entra/consents.ts'
export type { AadstsCode } from './entra/error-codes.ts'
export type { DelegatedTokens } from './entra/issuing.ts'
export type { AppCredentials, ClientSecret, FederatedCredential } from './entra/app-credentials.ts'
export type { FrontChannelLogout } from './entra/session.ts'
export {
  idTokenFaults,
  type IdTokenFault,
  type IdTokenFaultName,
  type IdTokenSigner,
} from './id-token-faults.ts'
export type { PublishedKey } from './entra/signing-keys.ts'
export { faultsOf } from './fault-catalogue.ts'
export type { Fault, FaultHandle, Faults, FaultTarget, TokenError, TokenErrorTarget } from './faults.ts'
export type { DeltaControl, DeltaSettings } from './graph-api/delta-settings.ts'
export type {
  RetryAfterStyle,
  Throttle,
  ThrottleSettings,
  ThrottleStatistics,
} from './graph-api/throttling.ts'
export type {
  LifecycleEvent,
  NotificationAttempt,
  NotificationControl,
  NotificationSettings,
  Subscription,
} from './notifications/settings.ts'
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
  /** How delta queries of users and groups behave, `delta.set` changes it. */
  delta?: DeltaSettings
  /** How subscriptions and notifications behave, `notifications.set` changes it. */
  notifications?: NotificationSettings
  /** The simulator's clock in milliseconds; default `Date.now`. */
  now?: () => number
  /** Tenants beside the first on the same authority host, for apps that are `multiTenant`. Default none. */
  otherTenants?: readonly OtherTenantSeed[]
  /** How many of the newest requests, and of the newest tokens, are kept to look at. Default 10,000; 0 keeps none. */
  keep?: number
}

/** Another tenant; throttling, index lag and hidden membership are as in the first. */
export type OtherTenantSeed = {
  tenantId?: string
  /** The verified domain. Default `contoso-<seed>.example`. */
  domain?: string
  /** Default Contoso. */
  name?: string
  /** Default the first tenant's, plus one for each tenant: no two tenants may have the same. */
  seed?: number
  /** Default 10. */
  users?: number
  groups?: number
}

/** One tenant and what its administrators do; signing keys, apps and issued tokens are those of all. */
export type KnownTenant = EntraAdministration & {
  tenant: Tenant
  throttle: Throttle
  lag: IndexLag
  delta: DeltaControl
  notifications: NotificationControl
}

export type Simulator = KnownTenant & {
  /** The authority host, http, without trailing slash. */
  entraUrl: string
  /** Microsoft Graph, http, without version or trailing slash: another origin than `entraUrl`. */
  graphUrl: string
  /** The same two over TLS, and the PEM certificate a client must trust. */
  https: { entraUrl: string; graphUrl: string; caCertificate: string } | undefined
  apps: readonly SimulatedApp[]
  /** As in the seed's `otherTenants`, in that order. */
  otherTenants: readonly KnownTenant[]
  faults: Faults
  requests: RequestLog
  /** Directory, its index, tokens, faults, throttling and log back to the start; addresses and signing keys stay. */
  reset(): void
  close(): Promise<void>
}

/** Starts a stand-in for Entra, with one tenant or several, and Microsoft Graph on loopback ports. */
export async function startSimulator(options: SimulatorSeed = {}): Promise<Simulator> {
  const { seed = 1, host: address = '127.0.0.1', keep = 10_000, now = Date.now } = options
  const apps = options.apps ?? [defaultApp]
  const faults = createFaults()
  const requests = createRequestLog(keep, now)
  const lifetimeSeconds = options.accessTokenLifetimeSeconds
  const host = await createEntraHost({ seed, apps, now, keep, lifetimeSeconds, faults })
  const home = addTenant(host, planOf(options, seed))
  const others = (options.otherTenants ?? []).map((wanted, index) =>
    addTenant(host, otherPlan(options, wanted, seed + index + 1)),
  )
  const graphs = [home.graph, ...others.map(({ graph }) => graph)] as const
  const handlers = createHandlers({ host, graphs, faults, requests })
  const listeners = await openListeners(handlers, address, options.ports ?? {}, options.https ?? true)
  host.addGraphUrls([listeners.graphUrl, ...(listeners.https ? [listeners.https.graphUrl] : [])])
  const known = (simulated: SimulatedTenant): KnownTenant => ({
    tenant: simulated.tenant,
    throttle: simulated.throttling,
    lag: simulated.index,
    delta: simulated.delta,
    notifications: simulated.notifications,
    ...administrationOf(simulated.authority, simulated.tenant, listeners.entraUrl),
  })
  return {
    entraUrl: listeners.entraUrl,
    graphUrl: listeners.graphUrl,
    https: listeners.https,
    apps,
    faults,
    requests,
    ...known(home),
    otherTenants: others.map(known),
    reset() {
      for (const each of [home, ...others]) each.reset()
      host.reset()
      requests.clear()
    },
    async close() {
      for (const each of [home, ...others]) each.notifications.restart()
      await listeners.close()
    },
  }
}

function planOf(options: SimulatorSeed, seed: number): TenantPlan {
  return {
    seed,
    tenantId: options.tenantId,
    users: options.users ?? 250,
    groups: options.groups,
    throttle: options.throttle,
    indexLagMs: options.indexLagMs ?? 0,
    hiddenMembership: options.hiddenMembership ?? 'omitted',
    delta: options.delta,
    notifications: options.notifications,
  }
}

function otherPlan(options: SimulatorSeed, wanted: OtherTenantSeed, seed: number): TenantPlan {
  const { tenantId, domain, name } = wanted
  const own = { tenantId, domain, name, users: wanted.users ?? 10, groups: wanted.groups }
  return { ...planOf(options, wanted.seed ?? seed), ...own }
}
