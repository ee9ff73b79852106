import type { QueryOptions } from './query-options.ts'

/** Base costs by the operation that ends a path (Graph docs: throttling-limits, identity and access). */
const baseCosts: Readonly<Record<string, number>> = {
  memberOf: 2,
  transitiveMemberOf: 2,
  members: 3,
  transitiveMembers: 5,
  users: 2,
  getMemberGroups: 2,
  getMemberObjects: 2,
  checkMemberGroups: 4,
  checkMemberObjects: 4,
}

/** What a request takes from the tenant's budget: `x-ms-resource-unit` of its answer, at least 1. */
export function resourceUnits(operation: string, options: QueryOptions | undefined): number {
  if (operation === 'getByIds') return options?.select ? 2 : 5
  let cost = baseCosts[operation] ?? 1
  if (options?.select) cost -= 1
  if (options?.expand !== undefined) cost += 1
  if (options?.top !== undefined && options.top < 20) cost -= 1
  return Math.max(1, cost)
}
