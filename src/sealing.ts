import { CompactEncrypt, compactDecrypt, decodeProtectedHeader } from 'jose'
import type { NamedKey } from './setting-shapes.ts'

export type Sealed = { text: string; keyId: string }

/** Why a sealed text doesn't open: sealed with a key we don't have, for something else, or altered. */
export class Unsealable extends Error {
  constructor(why: string, cause?: unknown) {
    super(why, cause === undefined ? undefined : { cause })
    this.name = 'Unsealable'
  }
}

export type Seal = {
  /** Of the key that seals. */
  keyId: string
  /** Seals with the first key. `binding` (what the text belongs to) must be given again to open it. */
  sealText: (plaintext: string, binding: string) => Promise<Sealed>
  /** @throws {Unsealable} */
  unsealText: (text: string, binding: string) => Promise<string>
}

/**
 * Seals secrets at rest as compact JWE (`dir`, A256GCM, RFC 7516) with the key's id in the header. The binding stands in
 * the protected header, so that a row copied elsewhere doesn't open.
 */
export function createSeal(keys: readonly NamedKey[]): Seal {
  const [current] = keys
  if (!current) throw new TypeError('sealing needs at least one key')
  return {
    keyId: current.id,
    sealText: async (plaintext, binding) => {
      const jwe = new CompactEncrypt(new TextEncoder().encode(plaintext)).setProtectedHeader({
        alg: 'dir',
        enc: 'A256GCM',
        kid: current.id,
        sub: binding,
      })
      return { text: await jwe.encrypt(current.key), keyId: current.id }
    },
    unsealText: async (text, binding) => {
      try {
        const { kid } = decodeProtectedHeader(text)
        const key = keys.find(({ id }) => id === kid)
        if (!key) throw new Unsealable(`sealed with the unknown key ${JSON.stringify(kid)}`)
        const { plaintext, protectedHeader } = await compactDecrypt(text, key.key, {
          keyManagementAlgorithms: ['dir'],
          contentEncryptionAlgorithms: ['A256GCM'],
        })
        if (protectedHeader['sub'] !== binding) throw new Unsealable('sealed for another user')
        return new TextDecoder().decode(plaintext)
      } catch (error) {
        throw error instanceof Unsealable ? error : new Unsealable('the sealed text does not open', error)
      }
    },
  }
}
