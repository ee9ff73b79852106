import { jwtVerify, type JWTVerifyResult } from 'jose'
import { z } from 'zod'
import { TokenRejected } from '../errors.ts'
import { failedCheck } from '../failed-check.ts'
import type { KeySet } from './key-set.ts'

const guid = z.guid().transform((text) => text.toLowerCase())
const label = z
  .string()
  .transform((text) => text.slice(0, 256))
  .optional()
  .catch(undefined)

/** Claims of a v2 ID token; `oid` with `tid` is the identity, the rest are labels (Entra docs: id-token-claims-reference). */
const claims = z.object({
  ver: z.literal('2.0'),
  tid: guid,
  oid: guid,
  iss: z.string(),
  /** One application: a token for several is for none in particular. */
  aud: z.string(),
  nonce: z.string(),
  name: label,
  preferred_username: label,
  email: label,
  /** The session at Entra, by which it says later that the person has signed out. */
  sid: label,
  login_hint: label,
})

export type IdTokenClaims = z.output<typeof claims>

export type IdTokenRules = {
  clientId: string
  /** Of the authority's own metadata; `{tenantid}` stands for the tenant of the token. */
  issuer: string
  takesTenant: (tenantId: string) => boolean
  nonce: string
}

/** Entra signs ID tokens with RS256 only (Entra docs: v2-protocols-oidc, id_token_signing_alg_values_supported). */
const algorithms = ['RS256']
const maxLength = 32_768
/** RFC 7515, 7.1. jose reads over blanks, so that a signature would have several spellings. */
const compact = /^[\w-]+\.[\w-]+\.[\w-]*$/
const skewSeconds = 60

/**
 * Proves who signed in. The signature is one of a key that the authority publishes; the token is for this app, this sign-in
 * (nonce) and now (60 s of skew); its issuer, and that of the key, are those of the tenant it names, and that tenant is
 * one the source takes (Entra docs: access-tokens, validate the issuer).
 * @throws {TokenRejected} with a reason that says which check failed, `id_token_…`, and nothing of the token.
 * @throws {Error} where the keys can't be read: of fetch, or jose's.
 */
export async function verifyIdToken(
  token: string,
  rules: IdTokenRules,
  keys: KeySet,
): Promise<IdTokenClaims> {
  if (token.length > maxLength) throw rejected('too_long')
  if (!compact.test(token)) throw rejected('malformed')
  const { payload, protectedHeader } = await verify(token, rules, keys)
  const parsed = claims.safeParse(payload)
  if (!parsed.success) throw rejected(String(parsed.error.issues[0]?.path[0] ?? 'claims'))
  const { tid, iss, nonce } = parsed.data
  if (nonce !== rules.nonce) throw rejected('nonce')
  if (iss !== issuerFor(rules.issuer, tid)) throw rejected('iss')
  // Without an id it wouldn't be known whose tokens the key may sign.
  if (protectedHeader.kid === undefined) throw rejected('unknown_key')
  const keyIssuer = keys.issuerOf(protectedHeader.kid)
  if (keyIssuer !== undefined && issuerFor(keyIssuer, tid) !== iss) throw rejected('key_issuer')
  if (!rules.takesTenant(tid)) throw rejected('tenant')
  return parsed.data
}

async function verify(token: string, { clientId }: IdTokenRules, keys: KeySet): Promise<JWTVerifyResult> {
  try {
    return await jwtVerify(token, keys.find, {
      algorithms,
      audience: clientId,
      clockTolerance: skewSeconds,
      requiredClaims: ['iss', 'sub', 'iat', 'nbf', 'exp', 'nonce', 'tid', 'oid', 'ver'],
    })
  } catch (error) {
    const reason = failedCheck(error)
    throw reason === undefined ? error : rejected(reason)
  }
}

const issuerFor = (issuer: string, tenantId: string) => issuer.replaceAll('{tenantid}', tenantId)

function rejected(check: string): TokenRejected {
  const reason = `id_token_${/^\w{1,32}$/.test(check) ? check : 'claims'}`
  return new TokenRejected(reason, 'the ID token that Entra answered is not acceptable')
}
