import { generateTenant } from './directory/generate.ts'
import { createDirectoryIndex, type DirectoryIndex } from './directory/index-lag.ts'
import { clearDirectory, createDirectory } from './directory/store.ts'
import { tenantOf, type Tenant } from './directory/tenant.ts'
import type { Authority, EntraHost } from './entra/authority.ts'
import { createConsents } from './entra/consents.ts'
import type { GraphTenant } from './graph-api/call.ts'
import { createDelta, type Delta, type DeltaSettings } from './graph-api/delta-settings.ts'
import { createThrottling, type Throttling, type ThrottleSettings } from './graph-api/throttling.ts'
import { createHub, type NotificationHub } from './notifications/hub.ts'
import type { NotificationSettings } from './notifications/settings.ts'

/** What makes one tenant. */
export type TenantPlan = {
  seed: number
  tenantId: string | undefined
  domain?: string | undefined
  name?: string | undefined
  users: number
  groups: number | undefined
  throttle: ThrottleSettings | undefined
  indexLagMs: number
  hiddenMembership: 'omitted' | 'shown'
  delta: DeltaSettings | undefined
  notifications: NotificationSettings | undefined
}

/** One tenant with what both stand-ins know of it. */
export type SimulatedTenant = {
  tenant: Tenant
  index: DirectoryIndex
  throttling: Throttling
  delta: Delta
  notifications: NotificationHub
  authority: Authority
  graph: GraphTenant
  /** People and groups as at the start. */
  reset(): void
}

/** Fills a tenant and puts it on the host, after those that are there. */
export function addTenant(host: EntraHost, plan: TenantPlan): SimulatedTenant {
  const { seed, users, groups, hiddenMembership } = plan
  const { now, tokens, challenges } = host
  const directory = createDirectory(seed, plan.tenantId, { domain: plan.domain, displayName: plan.name })
  const index = createDirectoryIndex(directory, now)
  // Delta queries are served from an index of their own, as far behind as a test wants.
  const deltaIndex = createDirectoryIndex(index.source, now)
  const delta = createDelta(deltaIndex, plan.delta)
  const notifications = createHub({ directory, now, settings: plan.notifications })
  const tenant = tenantOf(deltaIndex.source)
  const fill = (): void => {
    generateTenant(tenant, { seed, users, groups })
    directory.journal.start()
    index.set(plan.indexLagMs)
  }
  fill()
  const throttling = createThrottling({
    tenantId: directory.tenantId,
    appIds: host.apps.map(({ clientId }) => clientId),
    now,
    settings: plan.throttle,
  })
  const consents = createConsents()
  const authority: Authority = { ...host, directory, consents }
  host.tenants.push(authority)
  return {
    tenant,
    index,
    throttling,
    delta,
    notifications,
    authority,
    graph: {
      directory,
      index: () => index.current(),
      tokens,
      challenges,
      now,
      throttling,
      delta,
      notifications,
      hiddenMembership,
    },
    reset() {
      index.set(0)
      index.catchUp()
      delta.restart()
      notifications.restart()
      clearDirectory(directory, seed)
      fill()
      consents.clear()
      throttling.restart()
    },
  }
}
