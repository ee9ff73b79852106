import type { Database } from '../../db/client.ts'
import { listSigningKeys, replaceSealedSigningKey } from '../../db/signing-keys.ts'
import { Unsealable, type Seal } from '../sealing.ts'
import { signingKeyBinding } from './private-keys.ts'

/** Seals the keys that sign anew, with the first key, where another one seals them. Of those that don't open: what sealed them. */
export async function resealSigningKeys(
  db: Database,
  seal: Seal,
): Promise<{ resealed: number; unreadable: readonly string[] }> {
  const unreadable: string[] = []
  let resealed = 0
  for (const { kid, sealed, keyId } of await listSigningKeys(db)) {
    if (keyId === seal.keyId) continue
    const binding = signingKeyBinding(kid)
    try {
      const anew = await seal.sealText(await seal.unsealText(sealed, binding), binding)
      const replacement = { before: sealed, sealed: anew.text, keyId: anew.keyId }
      if (await replaceSealedSigningKey(db, kid, replacement)) resealed += 1
    } catch (error) {
      if (!(error instanceof Unsealable)) throw error
      unreadable.push(keyId)
    }
  }
  return { resealed, unreadable }
}
