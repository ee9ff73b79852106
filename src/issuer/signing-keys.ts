import { calculateJwkThumbprint, exportJWK, exportPKCS8, generateKeyPair, importPKCS8, type JWK } from 'jose'
import { z } from 'zod'
import type { Database } from '../../db/client.ts'
import {
  insertSigningKey,
  listSigningKeys,
  type StoredSigningKey,
  type Succession,
} from '../../db/signing-keys.ts'
import type { Seal } from '../sealing.ts'

/** ECDSA on P-256 with SHA-256 (RFC 7518, 3.4). */
export const signingAlgorithm = 'ES256'

type PrivateKey = Awaited<ReturnType<typeof importPKCS8>>

/** A key as key sets have it. */
export type PublicKey = JWK & { kid: string }

export type SigningKeys = {
  /** The key that signs now. */
  signer: () => Promise<{ kid: string; privateKey: PrivateKey }>
  /** Every key whose tokens may still be good, and the one that signs next. */
  published: () => Promise<readonly PublicKey[]>
}

/** Seconds. A key set is read again by its copies every few minutes; a key is in all of them before it signs. */
export const keyRhythm = {
  signsFor: 30 * 86_400,
  publishedBefore: 3600,
  /** Longer than a local token is good for, and its skew. */
  publishedAfter: 2 * 3600,
}

/** Milliseconds for which a list of keys is used without a look at Postgres: a withdrawn key is trusted that much longer. */
const keptMs = 30_000

const publicJwk = z.looseObject({
  kty: z.literal('EC'),
  crv: z.literal('P-256'),
  x: z.string(),
  y: z.string(),
})

/** What a private key is sealed for. */
export const signingKeyBinding = (kid: string) => `signing key ${kid}`

export type SigningKeysParts = {
  db: Database
  seal: Seal
  /** The key that ought to sign can't be read: another one is made. With its id and that of the key that sealed it. */
  onUnreadable: (kid: string, sealedWith: string) => void
  /** Milliseconds by a clock that nobody can put back. */
  now?: () => number
}

type Known = { at: number; rows: readonly StoredSigningKey[] }

/**
 * The keys in Postgres, made as they are needed: the first one at the first use, the next an hour before it begins to sign
 * in place of one that has for thirty days.
 */
export function createSigningKeys(parts: SigningKeysParts): SigningKeys {
  const { db, seal, onUnreadable, now = () => performance.now() } = parts
  let known: Known | undefined
  let reading: Promise<Known> | undefined
  const opened = new Map<string, PrivateKey>()

  const read = async (): Promise<Known> => {
    const at = now()
    const rows = await listSigningKeys(db)
    const followed = succession(rows)
    if (!followed) return { at, rows }
    await insertSigningKey(db, await newSigningKey(seal), followed)
    return { at, rows: await listSigningKeys(db) }
  }
  const current = async (): Promise<Known> => {
    if (known && now() - known.at < keptMs) return known
    reading ??= read().finally(() => (reading = undefined))
    known = await reading
    return known
  }
  const open = async ({ kid, sealed, keyId }: StoredSigningKey): Promise<PrivateKey | undefined> => {
    const before = opened.get(kid)
    if (before) return before
    try {
      const key = await importPKCS8(await seal.unsealText(sealed, signingKeyBinding(kid)), signingAlgorithm)
      opened.set(kid, key)
      return key
    } catch {
      onUnreadable(kid, keyId)
      return undefined
    }
  }
  const signer = async (retry = true): ReturnType<SigningKeys['signer']> => {
    const { rows } = await current()
    const row = rows.find(({ maySign }) => maySign)
    const privateKey = row && (await open(row))
    if (row && privateKey) return { kid: row.kid, privateKey }
    if (!retry) throw new Error('there is no signing key')
    // Whose sealing key is gone is of no use; what it has signed stays good.
    const after = rows[0]?.kid
    const follows = { after, beginsInSeconds: 0, keepSeconds: keyRhythm.publishedAfter }
    await insertSigningKey(db, await newSigningKey(seal), follows)
    known = undefined
    return await signer(false)
  }
  return {
    signer: async () => await signer(),
    published: async () => (await current()).rows.map(publicKeyOf),
  }
}

/** What to do about the keys as they are: undefined for nothing. */
export function succession(
  rows: readonly Pick<StoredSigningKey, 'kid' | 'ageSeconds'>[],
): Succession | undefined {
  const [newest] = rows
  const keepSeconds = keyRhythm.publishedAfter
  if (!newest) return { after: undefined, beginsInSeconds: 0, keepSeconds }
  if (newest.ageSeconds < keyRhythm.signsFor - keyRhythm.publishedBefore) return undefined
  return { after: newest.kid, beginsInSeconds: keyRhythm.publishedBefore, keepSeconds }
}

/** A new key, its private part sealed. Its id is its thumbprint (RFC 7638). */
export async function newSigningKey(
  seal: Seal,
): Promise<Pick<StoredSigningKey, 'kid' | 'publicJwk' | 'sealed' | 'keyId'>> {
  const { publicKey, privateKey } = await generateKeyPair(signingAlgorithm, { extractable: true })
  const jwk = await exportJWK(publicKey)
  const kid = await calculateJwkThumbprint(jwk)
  const { text, keyId } = await seal.sealText(await exportPKCS8(privateKey), signingKeyBinding(kid))
  return { kid, publicJwk: JSON.stringify(jwk), sealed: text, keyId }
}

function publicKeyOf({ kid, publicJwk: json }: StoredSigningKey): PublicKey {
  return { ...publicJwk.parse(JSON.parse(json)), kid, alg: signingAlgorithm, use: 'sig' }
}
