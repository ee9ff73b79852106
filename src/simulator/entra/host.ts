import type { FaultSource } from '../faults.ts'
import type { SimulatedApp } from './apps.ts'
import type { Authority, EntraHost } from './authority.ts'
import { createChallenges } from './challenges.ts'
import { createAssertionIds } from './client-assertion.ts'
import { createCredentials } from './credentials.ts'
import { createRefusals } from './refusals.ts'
import { createSessions } from './session.ts'
import { createSigningKeys } from './signing-keys.ts'
import { createTokens } from './tokens.ts'

/** Starts the authority host, without any tenant; `reset` leaves its keys as they are. */
export async function createEntraHost(options: {
  seed: number
  apps: readonly SimulatedApp[]
  now: () => number
  keep: number
  lifetimeSeconds: number | undefined
  faults: FaultSource
}): Promise<EntraHost & { addGraphUrls(urls: readonly string[]): void; reset(): void }> {
  const { apps, now, faults } = options
  const tenants: Authority[] = []
  const graphUrls: string[] = []
  const credentials = new Map(apps.map((app) => [app.clientId, createCredentials(app)]))
  const assertionIds = createAssertionIds(now)
  const tokens = createTokens(options)
  const codes: EntraHost['codes'] = new Map()
  const challenges = createChallenges()
  const unassigned = new Set<string>()
  const refusals = createRefusals()
  const sessions = createSessions()
  return {
    tenants,
    apps,
    credentialsOf(clientId) {
      const found = credentials.get(clientId)
      if (!found) throw new Error(`no such app in the simulated tenant: ${clientId}`)
      return found
    },
    assertionIds,
    keys: await createSigningKeys(),
    tokens,
    codes,
    faults,
    challenges,
    unassigned,
    refusals,
    sessions,
    now,
    graphUrls: () => graphUrls,
    addGraphUrls: (urls) => void graphUrls.push(...urls),
    reset() {
      tokens.reset()
      for (const kept of [codes, challenges, unassigned, refusals, sessions, assertionIds, faults])
        kept.clear()
      for (const each of credentials.values()) each.reset()
    },
  }
}
