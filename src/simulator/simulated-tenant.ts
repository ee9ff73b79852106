import { generateTenant } from './directory/generate.ts'
import { createDirectoryIndex, type DirectoryIndex } from './directory/index-lag.ts'
import { clearDirectory, createDirectory } from './directory/store.ts'
import { tenantOf, type Tenant } from './directory/tenant.ts'
import type { Authority, EntraHost } from './entra/authority.ts'
import { createConsents } from './entra/consents.ts'
import type { GraphTenant } from './graph-api/call.ts'
import { createThrottling, type Throttling, type ThrottleSettings } from './graph-api/throttling.ts'

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
}

/** One tenant with what both stand-ins know of it. */
export type SimulatedTenant = {
  tenant: Tenant
  index: DirectoryIndex
  throttling: Throttling
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
  const tenant = tenantOf(index.source)
  const fill = (): void => {
    generateTenant(tenant, { seed, users, groups })
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
    authority,
    graph: {
      directory,
      index: () => index.current(),
      tokens,
      challenges,
      now,
      throttling,
      hiddenMembership,
    },
    reset() {
      index.set(0)
      index.catchUp()
      clearDirectory(directory, seed)
      fill()
      consents.clear()
      throttling.restart()
    },
  }
}
