import type { JWK } from 'jose'
import { z } from 'zod'
import type { Database } from '../../db/client.ts'
import { insertSigningKey, listSigningKeys, type StoredSigningKey } from '../../db/signing-keys.ts'
import type { Seal } from '../sealing.ts'
import { keyRhythm, orderOf, succession } from './key-order.ts'
import { createKnownKeys } from './known-keys.ts'
import { createOpenPrivateKey, newSigningKey, signingAlgorithm, type PrivateKey } from './private-keys.ts'
import { OAuthRefusal } from './refusal.ts'

/** A key as key sets have it. */
export type PublicKey = JWK & { kid: string }

export type SigningKeys = {
  /** The key that signs now. @throws {OAuthRefusal} `temporarily_unavailable` where none that can be read may. */
  signer: () => Promise<{ kid: string; privateKey: PrivateKey }>
  /**
   * Every key whose tokens may still be good, and the one that signs next. Half an hour old at most where Postgres can't be
   * reached: for copies, which are as old.
   */
  published: () => Promise<readonly PublicKey[]>
  /** Those that verify a token which says that this one has signed it. */
  verifying: (kid: string) => Promise<readonly PublicKey[]>
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
  /** Seconds for which a token is good at most. */
  tokenSeconds: number
  /** A key that ought to sign can't be read: another one does, or is made. With its id and that of the key that sealed it. */
  onUnreadable: (kid: string, sealedWith: string) => void
  /** No key can be read, and one was made for that less than an hour ago. */
  onNone: () => void
  /** Postgres can't be reached, and the keys that are known are published. */
  onLasting: (error: unknown) => void
  /** Milliseconds by a clock that nobody can put back. */
  now?: () => number
}

const maxTries = 3

/** Milliseconds between two keys that one process makes because none can be read. */
const makeAgainAfterMs = 3_600_000

/**
 * The keys in Postgres, made as they are needed: the first one at the first use, the next an hour before it begins to sign
 * in place of one that has for thirty days, and one at once where none that may sign can be read.
 */
export function createSigningKeys(parts: SigningKeysParts): SigningKeys {
  const { db, seal, tokenSeconds, onUnreadable, onNone, onLasting, now = () => performance.now() } = parts
  const open = createOpenPrivateKey(seal, onUnreadable)
  /** The last one that was made because none could be read. */
  let madeAt = Number.NEGATIVE_INFINITY
  const read = async (): Promise<readonly StoredSigningKey[]> => {
    const rows = await listSigningKeys(db)
    const followed = succession(rows)
    if (!followed) return rows
    await insertSigningKey(db, await newSigningKey(seal), followed)
    return await listSigningKeys(db)
  }
  const known = createKnownKeys({ read, onLasting, now })
  const signerAmong = async (rows: readonly StoredSigningKey[]) => {
    for (const row of orderOf(rows, tokenSeconds).signers) {
      const privateKey = await open(row)
      if (privateKey) return { kid: row.kid, privateKey }
    }
    return undefined
  }
  /** Whose sealing key is gone is of no use; what it has signed stays good. */
  const makeAnother = async (rows: readonly StoredSigningKey[]) => {
    const after = orderOf(rows).newest?.kid
    const follows = { after, beginsInSeconds: 0, keepSeconds: keyRhythm.publishedAfter }
    if (await insertSigningKey(db, await newSigningKey(seal), follows)) madeAt = now()
  }
  /** Processes that don't open each other's keys follow each other's: the one that is slower has to look once more. */
  const signer = async (tries: number): ReturnType<SigningKeys['signer']> => {
    const rows = await (tries === maxTries ? known.current() : known.anew())
    const found = await signerAmong(rows)
    if (found) return found
    if (tries > 0 && now() - madeAt >= makeAgainAfterMs) {
      await makeAnother(rows)
      return await signer(tries - 1)
    }
    onNone()
    const told = 'no key that signs local tokens can be read; the log of the gateway says more'
    throw new OAuthRefusal('temporarily_unavailable', 'signing key', told)
  }
  return {
    signer: async () => await signer(maxTries),
    published: async () => (await known.lasting()).map(publicKeyOf),
    verifying: async (kid) => (await known.withKey(kid)).map(publicKeyOf),
  }
}

function publicKeyOf({ kid, publicJwk: json }: StoredSigningKey): PublicKey {
  return { ...publicJwk.parse(JSON.parse(json)), kid, alg: signingAlgorithm, use: 'sig' }
}
