import type { StoredSigningKey, Succession } from '../../db/signing-keys.ts'

/** Seconds. A key set is read again by its copies every few minutes; a key is in all of them before it signs. */
export const keyRhythm = {
  signsFor: 30 * 86_400,
  publishedBefore: 3600,
  /** Longer than a local token is good for, and its skew. */
  publishedAfter: 2 * 3600,
}

type Ordered = Pick<StoredSigningKey, 'kid' | 'hasBegun' | 'ageSeconds' | 'publishedSeconds'>

/**
 * The key that no other has followed, and those that may sign, the best first: the newest once it has begun, else the one
 * before it; and last the newest although it hasn't, which is in more copies of the key set than any that would be made.
 * One that goes before its token is over (`tokenSeconds`) signs nothing.
 */
export function orderOf<Row extends Ordered>(
  rows: readonly Row[],
  tokenSeconds = 0,
): { newest: Row | undefined; signers: readonly Row[] } {
  const newest = rows.find(({ publishedSeconds }) => publishedSeconds === null)
  const begun = rows.filter(
    ({ hasBegun, publishedSeconds }) =>
      hasBegun && (publishedSeconds === null || publishedSeconds >= tokenSeconds),
  )
  return { newest, signers: newest && !newest.hasBegun ? [...begun, newest] : begun }
}

/** What to do about the keys as they are: undefined for nothing. */
export function succession(rows: readonly Ordered[]): Succession | undefined {
  const { newest } = orderOf(rows)
  const keepSeconds = keyRhythm.publishedAfter
  if (!newest) return { after: undefined, beginsInSeconds: 0, keepSeconds }
  if (newest.ageSeconds < keyRhythm.signsFor - keyRhythm.publishedBefore) return undefined
  return { after: newest.kid, beginsInSeconds: keyRhythm.publishedBefore, keepSeconds }
}
