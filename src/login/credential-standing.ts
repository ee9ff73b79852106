import type { Credential } from '../source-config.ts'
import type { Prove } from './client-assertion.ts'

/** Another credential is in use from now on; all by {@link Credential}'s `id`. */
export type CredentialChange = {
  /** Undefined where none was taken before. */
  from: string | undefined
  /** Undefined where Entra takes none any more. */
  to: string | undefined
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
    /** By this process, so that it knows. */
    asked: boolean
    /** ISO 8601, as the next. */
    expiresAt: string | undefined
    /** A code such as `AADSTS7000222`, an OAuth `error`, or `token_file_unreadable`; undefined once it is taken again. */
    refusedWith: string | undefined
    refusedAt: string | undefined
  }[]
}

export type StandingOptions = {
  /** Once for each change, however many requests meet the refusal. */
  onChange: (change: CredentialChange) => void
  /**
   * With the first answer of Entra, and then with each change of what is known; and without one once a minute, since another
   * process may have told something else meanwhile.
   */
  onLearnt?: (status: CredentialsStatus) => void
  /** Once for each credential, when it has 30 days left or less: at the start, or at the first request after. */
  onExpiry?: (ending: { id: string; expiresAt: string }) => void
  now?: () => Date
}

/** Milliseconds that a refused credential is left alone for, as long as another one is taken. */
const pauseMs = 10 * 60_000

/** Milliseconds. */
const warnBeforeMs = 30 * 24 * 60 * 60_000

/** Milliseconds. */
const tellAgainMs = 60_000

/** A secret that is over stays so; all else may be mended at Entra, or in a file, under the same id. */
const forGood = 'AADSTS7000222'

/** A credential and what is known of it. */
export type Entry = {
  id: string
  kind: Credential['kind']
  prove: Prove
  end: Date | undefined
  warned: boolean
  /** Entra has taken or refused it. */
  asked: boolean
  /** Since Entra took it last. */
  refused: { with: string; at: number; tryAgainAt: number } | undefined
  /** Ever; tells a request that has taken long that it is not the latest to know. */
  refusals: number
}

export type Standing = {
  /** Those that may well be taken come first. */
  inOrder: () => Entry[]
  /** The pause of a refused one begins anew before its answer is there, so that others don't try the same meanwhile. */
  claim: (entry: Entry) => void
  taken: (entry: Entry) => void
  refuse: (entry: Entry, reason: string) => void
  /** All were tried, and none was taken. */
  noneTaken: () => void
  /** Tells what is new since it was told last. */
  tell: () => void
  warnOfEnds: () => void
  status: () => CredentialsStatus
}

/** What Entra thinks of each credential, as far as this process has asked. */
export function createStanding(
  entries: readonly Entry[],
  { onChange, onLearnt, onExpiry, now = () => new Date() }: StandingOptions,
): Standing {
  const inOrder = () => {
    const at = now().getTime()
    return entries.toSorted((one, other) => place(one, at) - place(other, at))
  }
  let inUse = inOrder().at(0)
  let told = ''
  let toldAt = 0
  const status = (): CredentialsStatus => ({
    inUse: inUse?.id,
    credentials: entries.map(({ id, kind, asked, end, refused }) => ({
      id,
      kind,
      asked,
      expiresAt: end?.toISOString(),
      refusedWith: refused?.with,
      refusedAt: refused && new Date(refused.at).toISOString(),
    })),
  })
  return {
    inOrder,
    claim: ({ refused }) => {
      if (refused && refused.with !== forGood) refused.tryAgainAt = now().getTime() + pauseMs
    },
    taken: (entry) => {
      entry.asked = true
      entry.refused = undefined
      const order = inOrder()
      if (inUse && order.indexOf(inUse) <= order.indexOf(entry)) return
      const from = inUse
      inUse = entry
      onChange({ from: from?.id, to: entry.id, refusedWith: from?.refused?.with })
    },
    refuse: (entry, reason) => {
      const at = now().getTime()
      entry.asked = true
      entry.refusals += 1
      entry.refused = { with: reason, at, tryAgainAt: reason === forGood ? Infinity : at + pauseMs }
    },
    noneTaken: () => {
      if (!inUse?.refused) return
      const { id, refused } = inUse
      inUse = undefined
      onChange({ from: id, to: undefined, refusedWith: refused.with })
    },
    tell: () => {
      if (!entries.some(({ asked }) => asked)) return
      const known = JSON.stringify([inUse?.id, entries.map(({ asked, refused }) => [asked, refused?.with])])
      const at = now().getTime()
      if (known === told && at - toldAt < tellAgainMs) return
      told = known
      toldAt = at
      onLearnt?.(status())
    },
    warnOfEnds: () => {
      for (const entry of entries) {
        const { id, end, warned } = entry
        if (!end || warned || end.getTime() - now().getTime() > warnBeforeMs) continue
        entry.warned = true
        onExpiry?.({ id, expiresAt: end.toISOString() })
      }
    },
    status,
  }
}

/** Those that may well be taken, then those whose end is past, then the refused, the latest last. */
function place({ end, refused }: Entry, now: number): number {
  if (refused && refused.tryAgainAt > now) return 1 + refused.at
  return end && end.getTime() <= now ? 1 : 0
}
