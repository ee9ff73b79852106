import { CompactEncrypt, compactDecrypt, decodeProtectedHeader } from 'jose'
import { z } from 'zod'
import type { NamedKey } from '../config.ts'
import { TokenRejected } from '../errors.ts'

const contents = z.object({ accessToken: z.string(), refreshToken: z.string().optional() })

/** What a sealed text hides. */
export type SealedTokens = z.output<typeof contents>

export type Sealed = { text: string; keyId: string }

export type Vault = {
  /** Of the key that seals. */
  keyId: string
  /** Seals with the first key. `binding` (the user's identity) must be given again to open it. */
  seal: (tokens: SealedTokens, binding: string) => Promise<Sealed>
  /** @throws {TokenRejected} `token_unreadable`: unknown key, other binding, altered text. Signing in again mends it. */
  unseal: (text: string, binding: string) => Promise<SealedTokens>
}

/**
 * Seals delegated tokens at rest as compact JWE (`dir`, A256GCM, RFC 7516) with the key's id in the header. The binding
 * stands in the protected header, so that a row copied to another user doesn't open.
 */
export function createVault(keys: readonly NamedKey[]): Vault {
  const [current] = keys
  if (!current) throw new TypeError('a vault needs at least one key')
  return {
    keyId: current.id,
    seal: async (tokens, binding) => {
      const plaintext = new TextEncoder().encode(JSON.stringify(tokens))
      const jwe = new CompactEncrypt(plaintext).setProtectedHeader({
        alg: 'dir',
        enc: 'A256GCM',
        kid: current.id,
        sub: binding,
      })
      return { text: await jwe.encrypt(current.key), keyId: current.id }
    },
    unseal: async (text, binding) => {
      try {
        const { kid } = decodeProtectedHeader(text)
        const key = keys.find(({ id }) => id === kid)
        if (!key) throw unreadable(`sealed with the unknown key ${JSON.stringify(kid)}`)
        const { plaintext, protectedHeader } = await compactDecrypt(text, key.key, {
          keyManagementAlgorithms: ['dir'],
          contentEncryptionAlgorithms: ['A256GCM'],
        })
        if (protectedHeader['sub'] !== binding) throw unreadable('sealed for another user')
        return contents.parse(JSON.parse(new TextDecoder().decode(plaintext)))
      } catch (error) {
        throw error instanceof TokenRejected ? error : unreadable('the sealed text does not open', error)
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
