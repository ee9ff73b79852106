import { randomUUID } from 'node:crypto'
import { createLocalJWKSet, decodeProtectedHeader, jwtVerify, SignJWT } from 'jose'
import { z } from 'zod'
import type { TokenSubject } from '../../db/token-subjects.ts'
import { signingAlgorithm } from './private-keys.ts'
import type { SigningKeys } from './signing-keys.ts'

/** Groups that a token carries at most, as Entra's do (Entra docs: access-token-claims-reference, groups overage claim). */
export const maxGroups = 200

/** What a token may be asked for: the groups of whom it is about; and, for services with that app role, those of everybody. */
export const knownScopes = ['groups', 'groups.read.all'] as const

export type LocalScope = (typeof knownScopes)[number]

/** A local token that is read back. */
export type LocalToken = {
  sub: string
  /** The application it is for. */
  aud: string
  iat: number
  exp: number
  jti: string
  scope: string
  tid: string
  oid: string
  idtyp: 'app' | 'user'
  /** Client id of the Entra app that it was given to; undefined for a person's own. */
  azp?: string | undefined
  /** The session it was made in. */
  sid?: string | undefined
}

const localToken = z.object({
  sub: z.uuid(),
  aud: z.string(),
  iat: z.number(),
  exp: z.number(),
  jti: z.string(),
  scope: z.string(),
  tid: z.string(),
  oid: z.string(),
  idtyp: z.enum(['app', 'user']),
  azp: z.string().optional(),
  sid: z.uuid().optional(),
})

export type NewToken = {
  subject: TokenSubject
  application: string
  scopes: readonly LocalScope[]
  azp?: string | undefined
  sid?: string | undefined
}

export type LocalTokens = {
  /** Where tokens say they come from. */
  issuer: string
  issue: (token: NewToken) => Promise<{ token: string; expiresIn: number; scope: string }>
  /** What a token says that is ours and good now; undefined for any other. */
  read: (token: string) => Promise<LocalToken | undefined>
}

export type LocalTokensParts = {
  /** Of the gateway, no trailing slash. */
  publicUrl: string
  keys: Pick<SigningKeys, 'signer' | 'verifying'>
  /** Seconds for which one is good. */
  lifeSeconds: number
}

/**
 * Bytes that groups with their names may have in a token. Many servers take headers of 16 KB in all: this much is 11 of a
 * token, and two hundred ids without names are no more, as in Entra's own.
 */
const maxGroupBytes = 8192

/** Characters; one of ours with two hundred groups has some 15,000. */
const maxLength = 65_536

/** Local tokens: JWTs as RFC 9068 has them, signed with ES256. */
export function createLocalTokens({ publicUrl, keys, lifeSeconds }: LocalTokensParts): LocalTokens {
  const issuer = `${publicUrl}/application/o/`
  return {
    issuer,
    issue: async ({ subject, application, scopes, azp, sid }) => {
      const { kid, privateKey } = await keys.signer()
      const scope = scopes.join(' ')
      const token = await new SignJWT({
        client_id: azp ?? application,
        azp,
        sid,
        scope,
        tid: subject.tenantId,
        oid: subject.objectId,
        idtyp: subject.kind === 'service' ? 'app' : 'user',
        name: subject.displayName ?? undefined,
        ...groupClaims(subject, publicUrl, maxGroupBytes),
      })
        .setProtectedHeader({ alg: signingAlgorithm, typ: 'at+jwt', kid })
        .setIssuer(issuer)
        .setSubject(subject.userId)
        .setAudience(application)
        .setJti(randomUUID())
        .setIssuedAt()
        .setExpirationTime(`${lifeSeconds}s`)
        .sign(privateKey)
      return { token, expiresIn: lifeSeconds, scope }
    },
    read: async (token) => {
      const kid = token.length > maxLength ? undefined : kidOf(token)
      if (kid === undefined) return undefined
      const published = createLocalJWKSet({ keys: [...(await keys.verifying(kid))] })
      const options = {
        algorithms: [signingAlgorithm],
        issuer,
        typ: 'at+jwt',
        requiredClaims: ['exp', 'iat', 'sub', 'aud', 'jti'],
      }
      const verified = await jwtVerify(token, published, options).catch(() => undefined)
      return verified && localToken.safeParse(verified.payload).data
    },
  }
}

/** Of the key that a text says it is signed with; undefined for what is no token of ours. */
function kidOf(token: string): string | undefined {
  try {
    const { kid } = decodeProtectedHeader(token)
    return typeof kid === 'string' ? kid : undefined
  } catch {
    return undefined
  }
}

/**
 * `groups` are object ids, as in Entra's own tokens, so that what reads those reads these; `group_names` stands beside it in
 * the same order, as long as both have room in so many bytes. Of more than {@link maxGroups}, and of names that have none,
 * there is only where to ask, in the claims that Entra has for that (OpenID Connect Core, 5.6.2).
 */
export function groupClaims(
  { groups, hasMore }: TokenSubject,
  publicUrl: string,
  within = Number.POSITIVE_INFINITY,
): Record<string, unknown> {
  const ids = groups.map(({ objectId }) => objectId)
  const names = groups.map(({ displayName }) => displayName)
  const fit = Buffer.byteLength(JSON.stringify([ids, names])) <= within
  const told = hasMore ? {} : fit ? { groups: ids, group_names: names } : { groups: ids }
  if (!hasMore && fit) return told
  const endpoint = `${publicUrl}/v1/users/me/groups`
  return {
    ...told,
    _claim_names: hasMore ? { groups: 'local' } : { group_names: 'local' },
    _claim_sources: { local: { endpoint } },
  }
}
