import { AccessDenied, TokenRejected } from './errors.ts'
import { createGraphClient } from './graph/client.ts'
import type { GroupRead } from './graph/group-pages.ts'
import { readServiceGroups } from './graph/service-groups.ts'
import { heedPause, pausedBy, type TenantBudget } from './graph/throttle.ts'
import type { AppTokens } from './login/app-tokens.ts'
import type { Snapshot } from './snapshot.ts'

/** Every group of a service, asked of Graph as the app. */
export type ReadService = (service: {
  tenantId: string
  objectId: string
  beganAt: string
}) => Promise<Snapshot>

/** Milliseconds that a read may take. */
const withinMs = 10_000

/**
 * Reads are not made to wait for their turn, since a program waits for its token: what one costs is taken from what follows.
 * A pause holds for them as for everybody, and a 429 makes one.
 */
export function createReadService(source: {
  graphBaseUrl: string
  groupRead: GroupRead
  appTokens: AppTokens
  budgetOf: (tenantId: string) => TenantBudget
}): ReadService {
  const { graphBaseUrl, groupRead, appTokens, budgetOf } = source
  return async ({ tenantId, objectId, beganAt }) => {
    const budget = budgetOf(tenantId)
    await heedPause(budget)
    const { accessToken } = await appTokens.tokenFor(tenantId)
    const signal = AbortSignal.timeout(withinMs)
    const readWith = async (token: string) => {
      const graph = createGraphClient({
        baseUrl: graphBaseUrl,
        accessToken: token,
        priority: 'high',
        signal,
      })
      try {
        return await readServiceGroups(graph, { objectId, read: groupRead, beganAt, withinMs })
      } finally {
        await budget.settle('high', graph.usage(), 0).catch(() => undefined)
      }
    }
    try {
      return await readWith(accessToken).catch(async (error: unknown) => {
        // The token that is kept may be from before an administrator agreed to what is missing: it lives for an hour.
        if (!(error instanceof TokenRejected) && !(error instanceof AccessDenied)) throw error
        const other = await appTokens.tokenFor(tenantId, { refused: accessToken }).catch(() => undefined)
        if (!other) throw error
        return await readWith(other.accessToken)
      })
    } catch (error) {
      throw await pausedBy(error, budget, 'high')
    }
  }
}
