import type { Database } from '../../db/client.ts'
import { findTokenSubject, type TokenSubject } from '../../db/token-subjects.ts'
import { maxGroups, type LocalToken, type LocalTokens } from './local-token.ts'

/** A local token that is good now, and whom it is about as they are now. */
export type GoodToken = { token: LocalToken; subject: TokenSubject }

export type ReadGoodToken = (token: string) => Promise<GoodToken | undefined>

/** Reads tokens that still hold: whom it is about is there and enabled, and the session it was made in, if in one, goes on. */
export function createReadGoodToken({
  db,
  tokens,
  sessionHolds,
}: {
  db: Database
  tokens: Pick<LocalTokens, 'read'>
  sessionHolds: (id: string) => Promise<boolean>
}): ReadGoodToken {
  return async (text) => {
    const token = await tokens.read(text)
    if (!token) return undefined
    const subject = await findTokenSubject(db, { userId: token.sub }, maxGroups)
    if (!subject?.enabled) return undefined
    if (token.sid !== undefined && !(await sessionHolds(token.sid))) return undefined
    return { token, subject }
  }
}
