import { z } from 'zod'
import { TokenRejected } from '../errors.ts'
import { createSeal, Unsealable, type Sealed } from '../sealing.ts'
import type { NamedKey } from '../setting-shapes.ts'

const contents = z.object({ accessToken: z.string(), refreshToken: z.string().optional() })

/** What a sealed text hides. */
export type SealedTokens = z.output<typeof contents>

export type { Sealed } from '../sealing.ts'

export type Vault = {
  /** Of the key that seals. */
  keyId: string
  /** Seals with the first key. `binding` (the user's identity) must be given again to open it. */
  seal: (tokens: SealedTokens, binding: string) => Promise<Sealed>
  /** @throws {TokenRejected} `token_unreadable`: unknown key, other binding, altered text. Signing in again mends it. */
  unseal: (text: string, binding: string) => Promise<SealedTokens>
}

/** Seals delegated tokens at rest; see {@link createSeal}. */
export function createVault(keys: readonly NamedKey[]): Vault {
  const { keyId, sealText, unsealText } = createSeal(keys)
  return {
    keyId,
    seal: async (tokens, binding) => await sealText(JSON.stringify(tokens), binding),
    unseal: async (text, binding) => {
      try {
        return contents.parse(JSON.parse(await unsealText(text, binding)))
      } catch (error) {
        throw error instanceof Unsealable
          ? unreadable(error.message, error.cause)
          : unreadable('the sealed text does not open', error)
      }
    },
  }
}

function unreadable(why: string, cause?: unknown): TokenRejected {
  return new TokenRejected('token_unreadable', `stored tokens can't be read: ${why}`, {
    code: 'token_unreadable',
    cause,
  })
}
