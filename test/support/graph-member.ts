import { beforeAll } from 'vitest'
import { startSimulator, type Simulator, type User } from '../../src/simulator/index.ts'
import type { Target } from './graph-requests.ts'

/** Ends a test whose tenant was generated without what it needs. */
export function missing(): never {
  throw new Error('the generated tenant lacks what the test needs')
}

export type Member = { simulator: Simulator; member: User; target: Target }

/** Around the tests of the file that calls it: a tenant, and a user whose groups fill more than one page of 999. */
export function givenMember(take: (given: Member) => void): void {
  beforeAll(async () => {
    const simulator = await startSimulator({ users: 60 })
    const { tenant } = simulator
    const member = tenant.users().find(({ id }) => tenant.groupsOf(id).length > 999) ?? missing()
    take({ simulator, member, target: await targetFor(simulator, member) })
    return async () => await simulator.close()
  })
}

/** Signs a user in; without a scope, with those of the default app. */
export async function targetFor(simulator: Simulator, who: User, scope?: string): Promise<Target> {
  const tokens = await simulator.signIn(who.id, scope === undefined ? {} : { scope })
  const { id: objectId, userPrincipalName } = who
  return { graphUrl: simulator.graphUrl, token: tokens.access_token, objectId, userPrincipalName }
}
