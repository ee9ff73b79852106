import type { Database } from '../../db/client.ts'
import { listSealedOtherwise, replaceSealed, type SealedRow } from '../../db/sealed-tokens.ts'
import { TokenRejected } from '../errors.ts'
import { tokenBinding } from './login-succeeded.ts'
import type { Vault } from './vault.ts'

export type Rotation = {
  resealed: number
  /** Renewed or signed in anew by another process meanwhile, with whatever key that one puts first. */
  overtaken: number
  /** How many did not open, by the id of the key that sealed them. */
  unreadable: ReadonlyMap<string, number>
}

/**
 * Seals anew, with the first key, whatever another one seals. What is done is done: a run that was stopped goes on where it
 * was, and workers beside it lose nothing, since only the very text that was read is replaced.
 */
export async function rotateKeys(parts: {
  db: Database
  vault: Vault
  batch: number
  onProgress: (seen: number) => void
}): Promise<Rotation> {
  const { db, vault, batch, onProgress } = parts
  const unreadable = new Map<string, number>()
  let [seen, resealed, overtaken] = [0, 0, 0]
  let last: SealedRow | undefined
  for (;;) {
    const rows = await listSealedOtherwise(db, vault.keyId, last, batch)
    last = rows.at(-1)
    if (last === undefined) return { resealed, overtaken, unreadable }
    const anew: (SealedRow & { resealed: string })[] = []
    for (const row of rows) {
      const text = await reseal(vault, row)
      if (text === undefined) unreadable.set(row.keyId, (unreadable.get(row.keyId) ?? 0) + 1)
      else anew.push({ ...row, resealed: text })
    }
    const replaced = anew.length === 0 ? 0 : await replaceSealed(db, anew, vault.keyId)
    resealed += replaced
    overtaken += anew.length - replaced
    seen += rows.length
    onProgress(seen)
  }
}

async function reseal(vault: Vault, row: SealedRow): Promise<string | undefined> {
  const binding = tokenBinding(row.tenantId, row.objectId)
  try {
    return (await vault.seal(await vault.unseal(row.sealed, binding), binding)).text
  } catch (error) {
    if (error instanceof TokenRejected) return undefined
    throw error
  }
}
