import type { Logger } from 'pino'
import type { Database } from '../../db/client.ts'
import { findStanding, useInvitation } from '../../db/admissions.ts'
import { AccessDenied, TokenRejected, toSyncError, type ErrorCode } from '../errors.ts'
import type { SourceConfig } from '../source-config.ts'
import type { EntraSignIn } from './entra.ts'

/** Why somebody whom Entra lets in doesn't get in here. */
export type AdmissionRefusal =
  | 'disabled'
  | 'not_invited'
  | 'not_member'
  /** Graph can't be asked right now. */
  | 'membership_unknown'
  /** The app may not ask Graph: a permission is missing. */
  | 'membership_forbidden'
  /** Graph's answer is of no use, and won't be in a minute. */
  | 'membership_failed'
  /** Graph tells nothing before a policy's claims are met. */
  | 'claims_unmet'

export type Refused = {
  reason: AdmissionRefusal
  /** Of `claims_unmet`: what Entra has to be asked for, as JSON. */
  claims?: string | undefined
  /** An earlier sign-in has stored the person. */
  isUser: boolean
  /** Where Graph didn't tell: what it said instead, for the log. */
  said?: GraphFailure
}

type GraphFailure = { code: ErrorCode; graph: string; requestId: string | undefined }

/** Which of these groups the owner of a token is in, by object id. */
export type CheckGroups = (
  accessToken: string,
  tenantId: string,
  groupIds: readonly string[],
) => Promise<readonly string[]>

/**
 * Whether a person who is proven may sign in, by the source's sign-up policy and by what is stored of them. Graph is
 * asked only where the policy names groups; where it is out of reach for now, what the last read has shown counts. A
 * challenge, or a permission that is missing, is an answer, and one that a person could have for ever.
 */
export async function refusalOf(
  { db, checkGroups, log }: { db: Database; checkGroups: CheckGroups; log: Pick<Logger, 'warn'> },
  source: Pick<SourceConfig, 'slug' | 'signUp' | 'tenant'>,
  person: Pick<EntraSignIn, 'tenantId' | 'objectId' | 'userPrincipalName' | 'tokens'>,
): Promise<Refused | undefined> {
  const { slug, signUp } = source
  const groupIds = signUp.policy === 'members' ? signUp.groupIds : []
  const userPrincipalName = namesPeople(source) ? person.userPrincipalName : undefined
  const standing = await findStanding(db, { ...person, userPrincipalName, source: slug, groupIds })
  const isUser = standing.userId !== undefined
  if (standing.disabled) return { reason: 'disabled', isUser }
  if (signUp.policy === 'invited' && !standing.invited && !isUser) return { reason: 'not_invited', isUser }
  if (signUp.policy !== 'members') return undefined
  try {
    const found = await checkGroups(person.tokens.accessToken, person.tenantId, groupIds)
    return found.length > 0 ? undefined : { reason: 'not_member', isUser }
  } catch (error) {
    const { reason, said, claims } = untold(error)
    if (!standing.member || reason !== 'membership_unknown') return { reason, said, claims, isUser }
    const { objectId } = person
    log.warn({ source: slug, error: reason, objectId, ...said }, 'let in by the last read')
    return undefined
  }
}

/** Why Graph didn't tell who is in the groups. */
function untold(error: unknown): Pick<Refused, 'reason' | 'claims'> & { said: GraphFailure } {
  const { code, message, requestId } = toSyncError(error)
  const said = { code, graph: message, requestId }
  if (error instanceof AccessDenied) return { reason: 'membership_forbidden', said }
  if (error instanceof TokenRejected && error.claims !== undefined)
    return { reason: 'claims_unmet', claims: error.claims, said }
  return { reason: isPassing(error, code) ? 'membership_unknown' : 'membership_failed', said }
}

/** Whoever asks again in a minute may hear more. */
function isPassing(error: unknown, code: ErrorCode): boolean {
  if (error instanceof DOMException) return error.name === 'TimeoutError' || error.name === 'AbortError'
  return code === 'graph_unavailable' || code === 'throttled'
}

/**
 * Whether a name says who somebody is: only where one tenant gives the names out. Of several, any could give a name that
 * another one's person has (Entra docs: claims-validation, never by a mutable claim).
 */
export function namesPeople({ tenant }: Pick<SourceConfig, 'tenant'>): boolean {
  return tenant.kind === 'single'
}

/** Once the person is stored: an invitation by name is theirs from here on. */
export async function settleInvitation(
  db: Database,
  source: Pick<SourceConfig, 'slug' | 'signUp' | 'tenant'>,
  person: Pick<EntraSignIn, 'tenantId' | 'objectId' | 'userPrincipalName'>,
): Promise<void> {
  const { slug, signUp } = source
  const { userPrincipalName } = person
  if (signUp.policy !== 'invited' || userPrincipalName === undefined || !namesPeople(source)) return
  const { userId } = await findStanding(db, { ...person, source: slug, groupIds: [] })
  if (userId !== undefined) await useInvitation(db, { source: slug, userId, userPrincipalName })
}
