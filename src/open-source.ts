import type { Database } from '../db/client.ts'
import type { SubjectSource } from './exchange.ts'
import { createGraphClient } from './graph/client.ts'
import { createTenantBudget, type TenantBudget } from './graph/throttle.ts'
import type { CheckGroups } from './login/admission.ts'
import type { StandingOptions } from './login/credential-standing.ts'
import { createAppCredentials, type AppCredentials } from './login/credentials.ts'
import { createAppTokens } from './login/app-tokens.ts'
import { createEntraClient, type EntraClient } from './login/entra.ts'
import type { OnStale } from './login/key-set.ts'
import { createExchangedTokens } from './login/exchanged-tokens.ts'
import { createExchange } from './login/on-behalf-of.ts'
import { createUserTokens } from './login/tokens.ts'
import type { Vault } from './login/vault.ts'
import { createMembershipCheck } from './membership-check.ts'
import { createReadService } from './read-service.ts'
import { syncsGroups, takesTenant, type SourceConfig } from './source-config.ts'
import type { ResyncSource } from './resync.ts'
import type { BatchSource } from './sync-batch.ts'

/** A configured source with everything that belongs to it; it opens nothing that has to be closed. */
export type OpenSource = BatchSource &
  ResyncSource &
  SubjectSource & {
    config: SourceConfig
    entra: EntraClient
    credentials: AppCredentials
    checkGroups: CheckGroups
  }

export function openSource(
  config: SourceConfig,
  parts: {
    db: Database
    vault: Vault
    onCredential: StandingOptions
    onStaleKeys?: OnStale
  },
): OpenSource {
  const { db, vault } = parts
  const { slug, clientId, graphBaseUrl, groupRead, guard, resyncGuard, groupFilter } = config
  const credentials = createAppCredentials(config, parts.onCredential)
  const entra = createEntraClient(config, credentials, parts.onStaleKeys)
  const exchange = createExchange(config, credentials)
  const budgets = new Map<string, TenantBudget>()
  const budgetOf = (tenantId: string): TenantBudget => {
    const budget =
      budgets.get(tenantId) ??
      createTenantBudget({ db, key: { clientId, tenantId }, unitsPer10s: config.unitsPer10s })
    budgets.set(tenantId, budget)
    return budget
  }
  const appTokens = createAppTokens(config, credentials)
  return {
    config,
    clientId,
    exchange: config.exchange,
    entra,
    credentials,
    slug,
    syncs: syncsGroups(config),
    takesTenant: (tenantId) => takesTenant(config, tenantId),
    appTokens,
    singleTenant: config.tenant.kind === 'single' ? config.tenant.id : undefined,
    tokens: createUserTokens({ db, vault, renew: entra.renew, exchanged: createExchangedTokens(exchange) }),
    openGraph: (accessToken, priority, signal) =>
      createGraphClient({ baseUrl: graphBaseUrl, accessToken, priority, signal }),
    groupRead,
    budgetOf,
    checkGroups: createMembershipCheck({ graphBaseUrl, budgetOf }),
    readService: createReadService({ graphBaseUrl, groupRead, appTokens, budgetOf }),
    resync: config.resync,
    rules: { guard, resyncGuard, filter: groupFilter },
  }
}
