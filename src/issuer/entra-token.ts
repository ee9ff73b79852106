import { decodeJwt, jwtVerify, type FlattenedJWSInput, type JWSHeaderParameters } from 'jose'
import { z } from 'zod'
import { GraphUnavailable } from '../errors.ts'
import { audiencesOf } from '../exchange-rivals.ts'
import { failedCheck } from '../failed-check.ts'
import type { ExchangeRules } from '../source-config.ts'
import { OAuthRefusal, type OAuthError } from './refusal.ts'

type VerificationKey = Exclude<Parameters<typeof jwtVerify>[1], (...parameters: never[]) => unknown>

/** The keys of an authority, as far as they are asked for here. */
export type EntraKeys = {
  find: (header: JWSHeaderParameters, token: FlattenedJWSInput) => Promise<VerificationKey>
  issuerOf: (kid: string | undefined) => string | undefined
}

/** What an authority says of the tokens of one format; `{tenantid}` in the issuer stands for the tenant of the token. */
export type EntraAuthority = {
  issuer: string
  /** Whom a key may say that it signs for: it speaks of the tenant's issuer in either format. */
  keyIssuers: readonly string[]
  keys: EntraKeys
}

export type TokenVersion = 'v1' | 'v2'

/** A source as far as its exchange goes. */
export type ExchangeSource = {
  slug: string
  clientId: string
  rules: ExchangeRules
  takesTenant: (tenantId: string) => boolean
  /** @throws {SyncError} where Entra can't be asked. */
  authorityOf: (version: TokenVersion) => Promise<EntraAuthority>
}

/** A token of Entra's for our own API, all of it checked. */
export type EntraToken = {
  source: string
  /** Whose it is: an app's for itself, or one that an app has for a person. */
  kind: 'app' | 'delegated'
  tenantId: string
  objectId: string
  /** Client id of the app that it was issued to. */
  callerId: string
  roles: readonly string[]
  /** Seconds since 1970 by Entra's clock. */
  issuedAt: number
}

const guid = z.guid().transform((text) => text.toLowerCase())
const text = z.string().min(1).max(2048)

/** Claims of an access token (Entra docs: access-token-claims-reference). */
const claims = z.object({
  ver: z.enum(['1.0', '2.0']),
  tid: guid,
  oid: guid,
  sub: text,
  iss: text,
  /** One API: a token for several is for none in particular. */
  aud: text,
  iat: z.number().int().nonnegative(),
  azp: guid.optional(),
  appid: guid.optional(),
  idtyp: z.string().max(32).optional(),
  scp: text.optional(),
  roles: z.array(z.string().min(1).max(256)).max(500).optional(),
})

type Claims = z.output<typeof claims>

/** What is looked at before the signature: it only says which source's checks the token has to pass. */
const untrusted = z.object({
  aud: z.unknown().optional(),
  tid: z.unknown().optional(),
  ver: z.unknown().optional(),
})

/** Entra signs with RS256 only (Entra docs: access-tokens, validate the signature). */
const algorithms = ['RS256']
/** Characters. A token with two hundred groups and as many roles has about 16,000. */
const maxLength = 32_768
const skewSeconds = 60
/** RFC 7515, 7.1. jose reads over blanks, so that a signature would have several spellings. */
const compact = /^[\w-]+\.[\w-]+\.[\w-]+$/

/** Microsoft Graph by its app id and by its addresses in all clouds. */
const graph =
  /^(00000003-0000-0000-c000-000000000000|https:\/\/((dod-)?graph\.microsoft\.(com|us)|microsoftgraph\.chinacloudapi\.cn)\/?)$/i

/** How a bad token is refused: as the proof of a client it is `invalid_client` (RFC 7521, 4.2.1), as what is exchanged `invalid_request` (RFC 8693, 2.2.2). */
export type BadToken = Extract<OAuthError, 'invalid_client' | 'invalid_request'>

/**
 * Proves whose token this is, and that it may be exchanged: signed by a key that the source's authority publishes for the
 * tenant it names; for this source's API, and now (60 s of skew); of a tenant, a kind and an app that the source takes. An
 * ID token is none: it names no app that called.
 * @throws {OAuthRefusal} for the first check that fails. @throws {SyncError} where Entra's keys can't be read.
 */
export async function verifyEntraToken(
  token: string,
  sources: readonly ExchangeSource[],
  bad: BadToken,
): Promise<EntraToken> {
  const refuse = (check: string, description: string) => new OAuthRefusal(bad, check, description)
  if (token.length > maxLength) throw refuse('too_long', `the token is longer than ${maxLength} characters`)
  if (!compact.test(token))
    throw refuse(
      'malformed',
      'the token is not a signed JWT in compact form; send the access token that Entra gave',
    )
  if (sources.length === 0)
    throw new OAuthRefusal(
      'unauthorized_client',
      'exchange_off',
      'no tokens of Entra are exchanged here; EXCHANGE and EXCHANGE_CALLERS, or exchange in the file of sources, say whose are',
    )
  const source = sourceFor(token, sources, refuse)
  const version: TokenVersion = readUnverified(token)?.ver === '1.0' ? 'v1' : 'v2'
  if (version === 'v1' && source.rules.versions === 'v2')
    throw refuse(
      'version',
      'tokens of version 1.0 are not taken; set requestedAccessTokenVersion to 2 in the manifest of the API in Entra',
    )
  const authority = await source.authorityOf(version)
  const payload = await verify(token, authority, refuse)
  const { tid, oid } = payload
  if (!source.takesTenant(tid))
    throw refuse('tenant', 'tokens of this tenant are not taken; ask for one at a tenant of the source')
  const kind = kindOf(payload)
  if (kind === undefined)
    throw refuse(
      'kind',
      'the token is neither of an app nor of a person through an app; send an access token, not an ID token',
    )
  if (source.rules.accepts !== 'any' && source.rules.accepts !== kind)
    throw new OAuthRefusal('unauthorized_client', 'kind_not_taken', kindAdvice[kind])
  const callerId = payload.ver === '1.0' ? payload.appid : payload.azp
  if (callerId === undefined)
    throw refuse(
      'caller',
      'the token does not say which app it was issued to; send an access token, not an ID token',
    )
  const roles = payload.roles ?? []
  assertMayCall(source.rules, { kind, callerId, roles })
  return { source: source.slug, kind, tenantId: tid, objectId: oid, callerId, roles, issuedAt: payload.iat }
}

const kindAdvice = {
  app: 'tokens of apps are not taken here, only those of people',
  delegated:
    'tokens of people are not taken here; ask Entra with grant_type=client_credentials for one of the app itself',
} as const

type Refuse = (check: string, description: string) => OAuthRefusal

function readUnverified(token: string): z.output<typeof untrusted> | undefined {
  try {
    return untrusted.safeParse(decodeJwt(token)).data
  } catch {
    return undefined
  }
}

/** The source whose API the token says it is for; of several, one that takes its tenant. */
function sourceFor(token: string, sources: readonly ExchangeSource[], refuse: Refuse): ExchangeSource {
  const told = readUnverified(token)
  if (!told) throw refuse('malformed', 'the payload of the token is not a JSON object')
  const { aud, tid } = told
  const scope = scopeFor(sources)
  if (typeof aud !== 'string')
    throw refuse('aud', `the token is not for one API; ask Entra for scope=${scope}`)
  if (graph.test(aud))
    throw refuse('graph_token', `this is a token for Microsoft Graph; ask Entra for scope=${scope}`)
  const meant = sources.filter(({ clientId, rules: { audiences } }) =>
    audiencesOf({ clientId, audiences }).includes(aud),
  )
  const [one] = meant
  if (!one) throw refuse('aud', `the token is for another API; ask Entra for scope=${scope}`)
  return meant.find(({ takesTenant }) => typeof tid === 'string' && takesTenant(tid.toLowerCase())) ?? one
}

/** More of them would be no advice; who asks knows the API by its client id anyway. */
const maxScopesTold = 3

/** What to ask Entra for, to get a token for here. */
function scopeFor(sources: readonly ExchangeSource[]): string {
  const scopes = [...new Set(sources.map(({ clientId }) => `api://${clientId}/.default`))]
  if (scopes.length === 0 || scopes.length > maxScopesTold) return 'api://<client id of the source>/.default'
  return scopes.join(' or ')
}

async function verify(
  token: string,
  { issuer, keyIssuers, keys }: EntraAuthority,
  refuse: Refuse,
): Promise<Claims> {
  const { payload, protectedHeader } = await jwtVerify(token, findIn(keys), {
    algorithms,
    clockTolerance: skewSeconds,
    requiredClaims: ['iss', 'sub', 'aud', 'iat', 'nbf', 'exp', 'tid', 'oid', 'ver'],
  }).catch((error: unknown) => {
    const check = failedCheck(error)
    throw check === undefined ? error : refuse(check, adviceOf(check))
  })
  const parsed = claims.safeParse(payload)
  if (!parsed.success) {
    const claim = String(parsed.error.issues[0]?.path[0] ?? 'claims')
    throw refuse(claim, adviceOf(claim))
  }
  const { tid, iss } = parsed.data
  const ofTenant = (template: string) => template.replaceAll('{tenantid}', tid)
  if (iss !== ofTenant(issuer))
    throw refuse('iss', 'the token was issued by another authority, or for another tenant than it names')
  // Without an id it wouldn't be known whose tokens the key may sign.
  if (protectedHeader.kid === undefined) throw refuse('unknown_key', adviceOf('unknown_key'))
  const keyIssuer = keys.issuerOf(protectedHeader.kid)
  if (keyIssuer !== undefined && !keyIssuers.map(ofTenant).includes(ofTenant(keyIssuer)))
    throw refuse('key_issuer', 'the key that signed the token signs for another tenant')
  return parsed.data
}

/** As `keys.find`. @throws {GraphUnavailable} for a failure that isn't the token's fault: keys that can't be had or read. */
function findIn(keys: EntraKeys): EntraKeys['find'] {
  return async (header, token) => {
    try {
      return await keys.find(header, token)
    } catch (error) {
      if (failedCheck(error) !== undefined) throw error
      throw new GraphUnavailable("Entra's signing keys can't be read", { cause: error })
    }
  }
}

const advice: Readonly<Record<string, string>> = {
  expired: 'the token has expired; ask Entra for a new one',
  not_yet: 'the token is not valid yet; look at the clocks of both machines',
  signature: 'the signature of the token is not that of its content; send the token as Entra gave it',
  algorithm: 'the token must be signed with RS256, as Entra does',
  unknown_key: 'the token is signed with a key that the tenant does not publish',
  ambiguous_key: 'the token does not say which key has signed it',
  malformed: 'the token is not a signed JWT that can be read',
}

function adviceOf(check: string): string {
  const known = advice[check]
  if (known !== undefined) return known
  const claim = /^\w{1,32}$/.test(check) ? check : 'claims'
  return `the claim ${claim} of the token is missing or malformed; send an access token for this API as Entra gave it`
}

/**
 * `idtyp` says it where the API asks for it. Else a token for a person has `scp`; one of an app has none, and its subject is
 * the app itself (Entra docs: access-token-claims-reference, optional-claims-reference).
 */
function kindOf({ idtyp, scp, sub, oid }: Claims): EntraToken['kind'] | undefined {
  if (idtyp === 'app') return scp === undefined ? 'app' : undefined
  if (scp !== undefined) return 'delegated'
  return idtyp === undefined && sub.toLowerCase() === oid ? 'app' : undefined
}

/** Entra gives any app of the tenant a token for this API, unless assignment is required: a role tells that somebody has agreed. */
function assertMayCall(
  { callers }: ExchangeRules,
  { kind, callerId, roles }: Pick<EntraToken, 'kind' | 'callerId' | 'roles'>,
): void {
  if (callers !== 'any') {
    if (callers.includes(callerId)) return
    throw new OAuthRefusal(
      'unauthorized_client',
      'caller_not_allowed',
      'the app that the token was issued to is not among those that may exchange one (EXCHANGE_CALLERS)',
    )
  }
  // Of a person's token, the person or an administrator has agreed to its scope.
  if (kind === 'delegated' || roles.length > 0) return
  throw new OAuthRefusal(
    'unauthorized_client',
    'no_role',
    'the token has no app role; assign one of the API to the app in Entra, or name the app in EXCHANGE_CALLERS',
  )
}
