import { AsyncLocalStorage } from 'node:async_hooks'
import { ResponseBodyError, WWWAuthenticateChallengeError, type ClientAuth } from 'openid-client'
import { ConfigInvalid } from '../errors.ts'
import type { Credential, SourceConfig } from '../source-config.ts'
import { createProof, knownEnd, type Prove } from './client-assertion.ts'
import { CredentialRefused } from './entra-error.ts'
import { tokenFailure } from './renew.ts'

/** Another credential is in use from now on; all by {@link Credential}'s `id`. */
export type CredentialChange = {
  /** Undefined where none was taken before. */
  from: string | undefined
  to: string
  /** Why `from` was refused; undefined where it has ended, or where a credential that comes first is taken again. */
  refusedWith: string | undefined
}

export type CredentialsStatus = {
  /** The one Entra took last, or that is going to be tried first; undefined while it takes none. */
  inUse: string | undefined
  /** In the order they are preferred in. */
  credentials: {
    id: string
    kind: Credential['kind']
    /** ISO 8601, as the next. */
    expiresAt: string | undefined
    /** A code such as `AADSTS7000222`, an OAuth `error`, or `token_file_unreadable`; undefined once it is taken again. */
    refusedWith: string | undefined
    refusedAt: string | undefined
  }[]
}

export type AppCredentials = {
  /** For openid-client: adds the credential of the `withCredential` around it; without one, that in use. */
  clientAuth: ClientAuth
  /**
   * Runs a token request. Where Entra refuses the credential it runs again with the next, each at most once; any other
   * error is passed on, and so is the last where none is taken. Running again is safe for a code that can be redeemed once:
   * Entra looks at the client before it looks at the code.
   */
  withCredential: <Result>(request: (prove: Prove) => Promise<Result>) => Promise<Result>
  status: () => CredentialsStatus
}

export type AppCredentialsOptions = {
  /** Once for each change, however many requests meet the refusal. */
  onChange: (change: CredentialChange) => void
  /** Once for each credential, when it has 30 days left or less: at the start, or at the first request after. */
  onExpiry?: (ending: { id: string; expiresAt: string }) => void
  now?: () => Date
}

/** Milliseconds that a refused credential is left alone for, as long as another one is taken. */
const pauseMs = 10 * 60_000

/** Milliseconds. */
const warnBeforeMs = 30 * 24 * 60 * 60_000

/** A secret that is over stays so; all else may be mended at Entra, or in a file, under the same id. */
const forGood = 'AADSTS7000222'

type Entry = {
  id: string
  kind: Credential['kind']
  prove: Prove
  end: Date | undefined
  warned: boolean
  /** Since Entra took it last. */
  refused: { with: string; at: number; tryAgainAt: number } | undefined
  /** Ever; tells a request that has taken long that it is not the latest to know. */
  refusals: number
}

/**
 * How the app registration of a source proves itself to Entra. The first credential that has neither ended nor been refused
 * lately is used, so one that works again is used again: a single request tries it, ten minutes after its refusal.
 * @throws {ConfigInvalid} naming every credential that can't be used, and none of its contents.
 */
export function createAppCredentials(
  source: Pick<SourceConfig, 'slug' | 'clientId' | 'credentials'>,
  { onChange, onExpiry, now = () => new Date() }: AppCredentialsOptions,
): AppCredentials {
  const entries = entriesOf(source)
  const chosen = new AsyncLocalStorage<Prove>()
  const inOrder = () => {
    const at = now().getTime()
    return entries.toSorted((one, other) => place(one, at) - place(other, at))
  }
  const warnOfEnds = () => {
    for (const entry of entries) {
      const { id, end, warned } = entry
      if (!end || warned || end.getTime() - now().getTime() > warnBeforeMs) continue
      entry.warned = true
      onExpiry?.({ id, expiresAt: end.toISOString() })
    }
  }
  let inUse = inOrder().at(0)

  const taken = (entry: Entry) => {
    entry.refused = undefined
    const order = inOrder()
    if (inUse && order.indexOf(inUse) <= order.indexOf(entry)) return
    const from = inUse
    inUse = entry
    onChange({ from: from?.id, to: entry.id, refusedWith: from?.refused?.with })
  }
  const refuse = (entry: Entry, reason: string) => {
    const at = now().getTime()
    entry.refusals += 1
    entry.refused = { with: reason, at, tryAgainAt: reason === forGood ? Infinity : at + pauseMs }
  }
  /** The pause begins anew before the answer is there, so that others don't try the same meanwhile. */
  const claim = ({ refused }: Entry) => {
    if (refused && refused.with !== forGood) refused.tryAgainAt = now().getTime() + pauseMs
  }

  const addProof = async (...[server, client, body]: Parameters<ClientAuth>) => {
    const prove = chosen.getStore() ?? inOrder()[0]?.prove
    const proof = await prove?.(server.token_endpoint ?? server.issuer)
    body.set('client_id', client.client_id)
    for (const [name, value] of Object.entries(proof ?? {})) body.set(name, value)
  }

  warnOfEnds()
  return {
    // Its type says void, but openid-client waits for it, as for its own PrivateKeyJwt.
    clientAuth: (...parts): unknown => addProof(...parts),
    withCredential: async (request) => {
      warnOfEnds()
      let last: unknown
      for (const entry of inOrder()) {
        const { prove, refusals } = entry
        claim(entry)
        try {
          const result = await chosen.run(prove, () => request(prove))
          if (entry.refusals === refusals) taken(entry)
          return result
        } catch (error) {
          const reason = refusalOf(error)
          if (reason === undefined) throw error
          refuse(entry, reason)
          last = error
        }
      }
      if (inUse?.refused) inUse = undefined
      throw last
    },
    status: () => ({
      inUse: inUse?.id,
      credentials: entries.map(({ id, kind, end, refused }) => ({
        id,
        kind,
        expiresAt: end?.toISOString(),
        refusedWith: refused?.with,
        refusedAt: refused && new Date(refused.at).toISOString(),
      })),
    }),
  }
}

/** Those that may well be taken, then those whose end is past, then the refused, the latest last. */
function place({ end, refused }: Entry, now: number): number {
  if (refused && refused.tryAgainAt > now) return 1 + refused.at
  return end && end.getTime() <= now ? 1 : 0
}

function entriesOf({ slug, clientId, credentials }: Parameters<typeof createAppCredentials>[0]): Entry[] {
  const problems = credentials.length > 0 ? [] : [{ setting: slug, message: 'has no credential' }]
  const entries = credentials.flatMap((credential): Entry[] => {
    const { id, kind } = credential
    try {
      const prove = createProof(credential, clientId)
      return [{ id, kind, prove, end: knownEnd(credential), warned: false, refused: undefined, refusals: 0 }]
    } catch (error) {
      const told = error instanceof Error ? error.message : 'it is malformed'
      problems.push({ setting: slug, message: `credential ${id} can't be used: ${told}` })
      return []
    }
  })
  if (problems.length > 0) throw new ConfigInvalid(problems)
  return entries
}

/** openid-client wraps what a {@link ClientAuth} throws, and keeps Entra's answer as the cause of its own error. */
function refusalOf(thrown: unknown): string | undefined {
  for (let error = thrown; error instanceof Error && error !== error.cause; error = error.cause) {
    if (error instanceof CredentialRefused) return error.reason
    if (error instanceof ResponseBodyError) {
      const failure = tokenFailure(error.status, null, error.cause)
      return failure instanceof CredentialRefused ? failure.reason : undefined
    }
    // RFC 6749, 5.2: at a token endpoint it can be about nothing else. openid-client doesn't read the body then.
    if (error instanceof WWWAuthenticateChallengeError)
      return error.status === 401 ? 'invalid_client' : undefined
  }
  return undefined
}
