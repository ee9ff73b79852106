import { calculateJwkThumbprint, exportJWK, exportPKCS8, generateKeyPair, importPKCS8 } from 'jose'
import type { NewSigningKey, StoredSigningKey } from '../../db/signing-keys.ts'
import type { Seal } from '../sealing.ts'

/** ECDSA on P-256 with SHA-256 (RFC 7518, 3.4). */
export const signingAlgorithm = 'ES256'

export type PrivateKey = Awaited<ReturnType<typeof importPKCS8>>

/** What a private key is sealed for. */
export const signingKeyBinding = (kid: string) => `signing key ${kid}`

/** A new key, its private part sealed. Its id is its thumbprint (RFC 7638). */
export async function newSigningKey(seal: Seal): Promise<NewSigningKey> {
  const { publicKey, privateKey } = await generateKeyPair(signingAlgorithm, { extractable: true })
  const jwk = await exportJWK(publicKey)
  const kid = await calculateJwkThumbprint(jwk)
  const { text, keyId } = await seal.sealText(await exportPKCS8(privateKey), signingKeyBinding(kid))
  return { kid, publicJwk: JSON.stringify(jwk), sealed: text, keyId }
}

/**
 * Opens private keys, each once: what has opened is kept, and what hasn't is told once and not tried again until it is sealed
 * anew.
 */
export function createOpenPrivateKey(
  seal: Pick<Seal, 'unsealText'>,
  onUnreadable: (kid: string, sealedWith: string) => void,
): (row: StoredSigningKey) => Promise<PrivateKey | undefined> {
  const opened = new Map<string, PrivateKey>()
  /** The sealed texts that don't open. */
  const shut = new Map<string, string>()
  return async ({ kid, sealed, keyId }) => {
    const before = opened.get(kid)
    if (before || shut.get(kid) === sealed) return before
    try {
      const key = await importPKCS8(await seal.unsealText(sealed, signingKeyBinding(kid)), signingAlgorithm)
      opened.set(kid, key)
      return key
    } catch {
      shut.set(kid, sealed)
      onUnreadable(kid, keyId)
      return undefined
    }
  }
}
