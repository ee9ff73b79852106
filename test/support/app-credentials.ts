import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import * as client from 'openid-client'
import { afterAll, beforeAll, beforeEach } from 'vitest'
import type { CredentialChange, CredentialsStatus } from '../../src/login/credential-standing.ts'
import { createAppCredentials } from '../../src/login/credentials.ts'
import type { Credential } from '../../src/source-config.ts'
import { clientId, startClientEntra, type ClientEntra } from './client-entra.ts'

export const secret = (id: string, expiresAt?: string) =>
  ({ kind: 'secret', id, secret: `the secret ${id}`, expiresAt }) as const satisfies Credential

export const minute = 60_000

/** What the promise is rejected with; undefined where it isn't. */
export const thrownBy = async (work: Promise<unknown>): Promise<unknown> =>
  await work.then(
    () => undefined,
    (error: unknown) => error,
  )

/** Around the tests of the file that calls it: a token endpoint that knows no client at the start of each. */
export function givenCredentials() {
  let entra: ClientEntra
  let folder: string
  const tokenFile = () => join(folder, 'token')
  beforeAll(async () => {
    entra = await startClientEntra()
    folder = await mkdtemp(join(tmpdir(), 'credentials-'))
  })
  beforeEach(async () => {
    entra.reset()
    await rm(tokenFile(), { force: true })
  })
  afterAll(async () => {
    await entra.close()
    await rm(folder, { recursive: true })
  })
  return {
    entra: () => entra,
    tokenFile,
    federated: () =>
      ({ kind: 'federated', id: 'federated', tokenFile: tokenFile() }) as const satisfies Credential,
    /** The app with such credentials, everything told of them, and a clock that a test turns. */
    app: (...credentials: Credential[]) => {
      const changes: CredentialChange[] = []
      const learnt: CredentialsStatus[] = []
      const endings: { id: string; expiresAt: string }[] = []
      const clock = { now: Date.now() }
      const app = createAppCredentials(
        { slug: 'main', clientId, credentials },
        {
          onChange: (change) => changes.push(change),
          onLearnt: (status) => learnt.push(status),
          onExpiry: (ending) => endings.push(ending),
          now: () => new Date(clock.now),
        },
      )
      const configuration = entra.configuration(app)
      const renew = async () =>
        await app.withCredential(() => client.refreshTokenGrant(configuration, 'the refresh token'))
      return { app, configuration, changes, learnt, endings, clock, renew }
    },
    /** Entra takes these of the test's secrets, and says of those that they are over. */
    secretsAre: (states: Record<string, 'good' | 'over'>) => {
      entra.known.secrets = new Map(Object.entries(states).map(([id, state]) => [`the secret ${id}`, state]))
    },
    /** Ids of the secrets that were posted, oldest first. */
    secretsSent: () => entra.requests.map((form) => form['client_secret']?.replace('the secret ', '')),
  }
}
