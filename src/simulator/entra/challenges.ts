/** A demand for a new sign-in of one user, with the claims it must satisfy (Entra docs: claims-challenge). */
export type Challenge = {
  claims: string
  /** Also for clients that did not declare to understand challenges. */
  always: boolean
  /** Also when a code is redeemed: the person signed in without what the app needs. */
  atSignIn: boolean
}

export type Challenges = {
  order(userId: string, challenge: Challenge): void
  pending(userId: string): Challenge | undefined
  /** Ends a user's challenge when the claims they signed in with carry it. */
  answer(userId: string, claims: string | undefined): void
  clear(): void
}

/** Starts with nobody challenged. */
export function createChallenges(): Challenges {
  const challenges = new Map<string, Challenge>()
  return {
    order: (userId, challenge) => void challenges.set(userId, challenge),
    pending: (userId) => challenges.get(userId),
    answer(userId, claims) {
      const challenge = challenges.get(userId)
      if (challenge && carries(readClaims(claims), readClaims(challenge.claims))) challenges.delete(userId)
    },
    clear: () => challenges.clear(),
  }
}

/** Reads a `claims` parameter (OpenID Connect Core, section 5.5); undefined when there is none, or not JSON. */
export function readClaims(claims: string | undefined): unknown {
  try {
    return claims === undefined ? undefined : JSON.parse(claims)
  } catch {
    return undefined
  }
}

/** Whether a client says that it understands challenges: capability `cp1` in `xms_cc` (Entra docs: claims-challenge). */
export function declaresCp1(claims: string | undefined): boolean {
  const values = ['access_token', 'xms_cc', 'values'].reduce<unknown>(memberOf, readClaims(claims))
  return Array.isArray(values) && values.includes('cp1')
}

function carries(given: unknown, wanted: unknown): boolean {
  if (typeof wanted !== 'object' || wanted === null) return given === wanted
  return Object.entries(wanted).every(([name, value]) => carries(memberOf(given, name), value))
}

function memberOf(value: unknown, name: string): unknown {
  if (typeof value !== 'object' || value === null) return undefined
  return new Map<string, unknown>(Object.entries(value)).get(name)
}
