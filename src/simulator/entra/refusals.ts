import type { AadstsCode } from './error-codes.ts'

/** Why somebody may not sign in, and whether Entra keeps them on its own page or sends them back to the app. */
export type Refusal = { code: AadstsCode; shown: 'page' | 'app' }

/** Who is refused, by object id. */
export type Refusals = {
  order(userId: string, refusal: Refusal | undefined): void
  of(userId: string): Refusal | undefined
  clear(): void
}

/** Starts with nobody refused. */
export function createRefusals(): Refusals {
  const refusals = new Map<string, Refusal>()
  return {
    order(userId, refusal) {
      if (refusal) refusals.set(userId, refusal)
      else refusals.delete(userId)
    },
    of: (userId) => refusals.get(userId),
    clear: () => refusals.clear(),
  }
}
