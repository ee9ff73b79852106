import { AsyncLocalStorage } from 'node:async_hooks'
import { ResponseBodyError, WWWAuthenticateChallengeError, type ClientAuth } from 'openid-client'
import { ConfigInvalid } from '../errors.ts'
import type { SourceConfig } from '../source-config.ts'
import { createProof, knownEnd, type Prove } from './client-assertion.ts'
import {
  createStanding,
  type CredentialsStatus,
  type Entry,
  type StandingOptions,
} from './credential-standing.ts'
import { CredentialRefused } from './entra-error.ts'
import { requestFailure, tokenFailure } from './renew.ts'

export type AppCredentials = {
  /** For openid-client: adds the credential of the `withCredential` around it; without one, that in use. */
  clientAuth: ClientAuth
  /**
   * Runs a token request. Where Entra refuses the credential it runs again with the next, each at most once; any other
   * error is passed on, and so is the last where none is taken. A refusal that may have another reason counts against the
   * credential only if another one is taken for the same request. Running again is safe for a code that can be redeemed
   * once: Entra looks at the client before it looks at the code.
   */
  withCredential: <Result>(request: (prove: Prove) => Promise<Result>) => Promise<Result>
  status: () => CredentialsStatus
}

/**
 * How the app registration of a source proves itself to Entra. The first credential that has neither ended nor been refused
 * lately is used, so one that works again is used again: a single request tries it, ten minutes after its refusal.
 * @throws {ConfigInvalid} naming every credential that can't be used, and none of its contents.
 */
export function createAppCredentials(
  source: Pick<SourceConfig, 'slug' | 'clientId' | 'credentials'>,
  options: StandingOptions,
): AppCredentials {
  const standing = createStanding(entriesOf(source), options)
  const chosen = new AsyncLocalStorage<Prove>()
  const addProof = async (...[server, client, body]: Parameters<ClientAuth>) => {
    const prove = chosen.getStore() ?? standing.inOrder()[0]?.prove
    const proof = await prove?.(server.token_endpoint ?? server.issuer)
    body.set('client_id', client.client_id)
    for (const [name, value] of Object.entries(proof ?? {})) body.set(name, value)
  }
  const tryAll = async <Result>(request: (prove: Prove) => Promise<Result>): Promise<Result> => {
    let last: unknown
    const doubtful: { entry: Entry; reason: string }[] = []
    for (const entry of standing.inOrder()) {
      const { prove, refusals } = entry
      standing.claim(entry)
      try {
        const result = await chosen.run(prove, () => request(prove))
        for (const each of doubtful) standing.refuse(each.entry, each.reason)
        if (entry.refusals === refusals) standing.taken(entry)
        return result
      } catch (thrown) {
        const error = await readChallenge(thrown)
        const refused = refusalOf(error)
        if (refused?.isSure) standing.refuse(entry, refused.reason)
        else if (refused) doubtful.push({ entry, reason: refused.reason })
        else throw error
        last = error
      }
    }
    // A doubtful one may be as good as ever.
    if (doubtful.length === 0) standing.noneTaken()
    throw last
  }
  standing.warnOfEnds()
  return {
    // Its type says void, but openid-client waits for it, as for its own PrivateKeyJwt.
    clientAuth: (...parts): unknown => addProof(...parts),
    withCredential: async (request) => {
      standing.warnOfEnds()
      try {
        return await tryAll(request)
      } finally {
        standing.tell()
      }
    },
    status: standing.status,
  }
}

function entriesOf({ slug, clientId, credentials }: Parameters<typeof createAppCredentials>[0]): Entry[] {
  const problems = credentials.length > 0 ? [] : [{ setting: slug, message: 'has no credential' }]
  const entries = credentials.flatMap((credential): Entry[] => {
    const { id, kind } = credential
    try {
      const prove = createProof(credential, clientId)
      return [
        {
          id,
          kind,
          prove,
          end: knownEnd(credential),
          warned: false,
          refused: undefined,
          asked: false,
          refusals: 0,
        },
      ]
    } catch (error) {
      const told = error instanceof Error ? error.message : 'it is malformed'
      problems.push({ setting: slug, message: `credential ${id} can't be used: ${told}` })
      return []
    }
  })
  if (problems.length > 0) throw new ConfigInvalid(problems)
  return entries
}

/** openid-client doesn't read the body of a challenge, where the number stands that tells whom it is about. */
async function readChallenge(thrown: unknown): Promise<unknown> {
  if (!(thrown instanceof WWWAuthenticateChallengeError)) return thrown
  return await requestFailure(thrown, "Entra's token endpoint gave no usable answer")
}

/** openid-client wraps what a {@link ClientAuth} throws, and keeps Entra's answer as the cause of its own error. */
function refusalOf(thrown: unknown): Pick<CredentialRefused, 'reason' | 'isSure'> | undefined {
  for (let error = thrown; error instanceof Error && error !== error.cause; error = error.cause) {
    if (error instanceof CredentialRefused) return error
    if (error instanceof ResponseBodyError) {
      const failure = tokenFailure(error.status, null, error.cause)
      return failure instanceof CredentialRefused ? failure : undefined
    }
  }
  return undefined
}
