import { getCACertificates, setDefaultCACertificates } from 'node:tls'
import { afterEach } from 'vitest'
import type { SimulatorSeed } from '../../src/simulator/index.ts'
import { givenWorld } from './people.ts'
import type { Backend, World } from './world.ts'

/**
 * Worlds whose resync reads with tokens of the app itself, which are given over https only. The authority of each world has
 * the same name, so that one is trusted at a time.
 */
export function givenAppWorld() {
  const people = givenWorld()
  const trusted = getCACertificates('default')
  afterEach(() => setDefaultCACertificates(trusted))

  async function open(
    backend: Backend,
    environment: Record<string, string> = {},
    seed: SimulatorSeed = {},
    /** Certificates that are trusted besides. */
    authorities: readonly string[] = [],
  ): Promise<World> {
    return await people.open({
      backend,
      seed: { ...seed, https: true },
      environment: { RESYNC_READ: 'app', RESYNC_DELTA: 'off', ...environment },
      settings: ({ https }) => {
        if (!https) throw new Error('the simulator has no https')
        setDefaultCACertificates([...getCACertificates('bundled'), https.caCertificate, ...authorities])
        return { ENTRA_AUTHORITY_HOST: https.entraUrl, GRAPH_BASE_URL: https.graphUrl }
      },
    })
  }

  return { ...people, open }
}
