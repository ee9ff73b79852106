import type { Logger } from 'pino'
import type { SourceConfig } from '../source-config.ts'
import type { Refused } from './admission.ts'
import type { EntraClient, EntraSignIn } from './entra.ts'
import type { PendingSignIns } from './oauth-state.ts'
import type { Sessions } from './session.ts'
import type { LoginSucceeded } from './signed-in-user.ts'

/** A source as far as signing in goes. */
export type SignInSource = {
  config: SourceConfig
  entra: EntraClient
  loginSucceeded: LoginSucceeded
  /** Why somebody whom Entra lets in doesn't get in here; undefined for those who do. */
  refusalOf: (person: EntraSignIn) => Promise<Refused | undefined>
  /** Once the person is stored, and before they are signed in. */
  settle: (person: EntraSignIn) => Promise<void>
}

export type SignInParts = {
  publicUrl: string
  /** By slug. */
  sources: ReadonlyMap<string, SignInSource>
  pendingSignIns: PendingSignIns
  sessions: Sessions
  /** The claims that this person's next sign-in has to ask for, where tokens were refused for the lack of them. */
  wantedClaims: (source: string, tenantId: string, objectId: string) => Promise<string | undefined>
  /** Ends the sessions that were started in a session at Entra. */
  endSessionsAt: (source: string, entraSession: string) => Promise<number>
  endSessionsOfPerson: (person: { source: string; tenantId: string; objectId: string }) => Promise<number>
  log: Logger
}
