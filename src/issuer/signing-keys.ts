import type { JWK } from 'jose'
import { z } from 'zod'
import type { Database } from '../../db/client.ts'
import { insertSigningKey, listSigningKeys, type StoredSigningKey } from '../../db/signing-keys.ts'
import type { Seal } from '../sealing.ts'
import { keyRhythm, orderOf, succession } from './key-order.ts'
import { createKnownKeys } from './known-keys.ts'
import { createOpenPrivateKey, newSigningKey, signingAlgorithm, type PrivateKey } from './private-keys.ts'

/** A key as key sets have it. */
export type PublicKey = JWK & { kid: string }

export type SigningKeys = {
  /** The key that signs now. */
  signer: () => Promise<{ kid: string; privateKey: PrivateKey }>
  /** Every key whose tokens may still be good, and the one that signs next. */
  published: () => Promise<readonly PublicKey[]>
}

const publicJwk = z.looseObject({
  kty: z.literal('EC'),
  crv: z.literal('P-256'),
  x: z.string(),
  y: z.string(),
})

export type SigningKeysParts = {
  db: Database
  seal: Seal
  /** A key that ought to sign can't be read: another one does, or is made. With its id and that of the key that sealed it. */
  onUnreadable: (kid: string, sealedWith: string) => void
  /** Milliseconds by a clock that nobody can put back. */
  now?: () => number
}

/**
 * The keys in Postgres, made as they are needed: the first one at the first use, the next an hour before it begins to sign
 * in place of one that has for thirty days, and one at once where none that may sign can be read.
 */
export function createSigningKeys(parts: SigningKeysParts): SigningKeys {
  const { db, seal, onUnreadable, now = () => performance.now() } = parts
  const open = createOpenPrivateKey(seal, onUnreadable)
  const read = async (): Promise<readonly StoredSigningKey[]> => {
    const rows = await listSigningKeys(db)
    const followed = succession(rows)
    if (!followed) return rows
    await insertSigningKey(db, await newSigningKey(seal), followed)
    return await listSigningKeys(db)
  }
  const known = createKnownKeys({ read, now })

  const signerAmong = async (rows: readonly StoredSigningKey[]) => {
    for (const row of orderOf(rows).signers) {
      const privateKey = await open(row)
      if (privateKey) return { kid: row.kid, privateKey }
    }
    return undefined
  }
  return {
    signer: async () => {
      const rows = await known.current()
      const signer = await signerAmong(rows)
      if (signer) return signer
      // Whose sealing key is gone is of no use; what it has signed stays good.
      await insertSigningKey(db, await newSigningKey(seal), {
        after: orderOf(rows).newest?.kid,
        beginsInSeconds: 0,
        keepSeconds: keyRhythm.publishedAfter,
      })
      const made = await signerAmong(await known.anew())
      if (!made) throw new Error('there is no signing key')
      return made
    },
    published: async () => (await known.current()).map(publicKeyOf),
  }
}

function publicKeyOf({ kid, publicJwk: json }: StoredSigningKey): PublicKey {
  return { ...publicJwk.parse(JSON.parse(json)), kid, alg: signingAlgorithm, use: 'sig' }
}
