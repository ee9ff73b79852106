import { errors } from 'jose'

const checks: readonly [kind: new (...parameters: never[]) => Error, check: string][] = [
  [errors.JWTExpired, 'expired'],
  [errors.JWSSignatureVerificationFailed, 'signature'],
  [errors.JOSEAlgNotAllowed, 'algorithm'],
  [errors.JWKSNoMatchingKey, 'unknown_key'],
  [errors.JWKSMultipleMatchingKeys, 'ambiguous_key'],
  [errors.JWTInvalid, 'malformed'],
  [errors.JWSInvalid, 'malformed'],
  [errors.JOSENotSupported, 'malformed'],
]

/** Which check of a signed JWT failed, in a word or by the name of the claim; undefined where the token wasn't at fault. */
export function failedCheck(error: unknown): string | undefined {
  if (error instanceof errors.JWTClaimValidationFailed)
    return error.claim === 'nbf' && error.reason === 'check_failed' ? 'not_yet' : error.claim
  return checks.find(([kind]) => error instanceof kind)?.[1]
}
