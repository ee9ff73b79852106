import { checkMemberGroups } from './graph/check-groups.ts'
import { createGraphClient } from './graph/client.ts'
import { heedPause, pausedBy, type TenantBudget } from './graph/throttle.ts'
import type { CheckGroups } from './login/admission.ts'

/** Milliseconds that a sign-in waits to hear whether the person is in a group. */
const withinMs = 5000

/**
 * The question is not made to wait for its turn, since a person waits: what it costs is taken from what follows. A pause
 * holds for it as for everybody, and a 429 makes one: whoever signs in meanwhile is let in by the last read, or told to come
 * back, without the tenant being asked.
 */
export function createMembershipCheck(source: {
  graphBaseUrl: string
  budgetOf: (tenantId: string) => TenantBudget
}): CheckGroups {
  const { graphBaseUrl, budgetOf } = source
  return async (accessToken, tenantId, groupIds) => {
    const budget = budgetOf(tenantId)
    await heedPause(budget)
    const signal = AbortSignal.timeout(withinMs)
    const graph = createGraphClient({ baseUrl: graphBaseUrl, accessToken, priority: 'high', signal })
    try {
      return await checkMemberGroups(graph, groupIds)
    } catch (error) {
      throw await pausedBy(error, budget, 'high')
    } finally {
      await budget.settle('high', graph.usage(), 0).catch(() => undefined)
    }
  }
}
