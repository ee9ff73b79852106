import { randomUUID } from 'node:crypto'
import type { Database } from '../db/client.ts'
import { listDeleted } from '../db/groups.ts'
import { keepService, type StoredService } from '../db/services.ts'
import { findTokenSubject, type TokenSubject } from '../db/token-subjects.ts'
import { databaseFailure } from './database-failure.ts'
import { AccessDenied, SyncError, Throttled } from './errors.ts'
import type { EntraToken } from './issuer/entra-token.ts'
import { maxGroups } from './issuer/local-token.ts'
import { OAuthRefusal } from './issuer/refusal.ts'
import type { Log } from './log.ts'
import { digestOf } from './reconcile/digest.ts'
import { groupsOfRoles, mappedGroups } from './reconcile/granted.ts'
import { noGuard } from './reconcile/guard.ts'
import { reconcile, type Rules } from './reconcile/reconcile.ts'
import type { Snapshot } from './snapshot.ts'
import type { ExchangeRules } from './source-config.ts'

/** A source as far as whose groups a token's are goes. */
export type SubjectSource = {
  slug: string
  clientId: string
  exchange: ExchangeRules | undefined
  rules: Rules
  /** Every group of a service, asked of Graph as the app. */
  readService: (service: { tenantId: string; objectId: string; beganAt: string }) => Promise<Snapshot>
}

export type SubjectParts = { db: Database; sources: ReadonlyMap<string, SubjectSource>; log: Log }

/** Seconds for which a service's groups are good before Graph is asked again. */
const goodForSeconds = 300

/**
 * Whom a token is about, with the groups that are stored once they have been brought up to it. A person has to be one who
 * signs in here; a service is kept at its first exchange, and is the same at every other.
 * @throws {OAuthRefusal} `invalid_grant` for whom no token is given. @throws {SyncError} for what is out of reach.
 */
export async function subjectOf(parts: SubjectParts, token: EntraToken): Promise<TokenSubject> {
  if (token.kind === 'app') await bringUpToDate(parts, token)
  const { tenantId, objectId } = token
  const subject = await findTokenSubject(parts.db, { tenantId, objectId }, maxGroups)
  if (!subject)
    throw refused('unknown', 'whom the token is about is not known here; people have to sign in here once')
  const meant = token.kind === 'app' ? 'service' : 'person'
  if (subject.kind !== meant) throw refused('other_kind', otherKind[meant])
  if (!subject.enabled) throw refused('disabled', 'whom the token is about is disabled here')
  return subject
}

const otherKind = {
  service:
    'the token is of an app, and a person has its object id here: a sign-in was reported with it, and no service is made until that row is gone',
  person:
    'the token is of a person, and a service has their object id here: an app has exchanged a token with it',
} as const

async function bringUpToDate({ db, sources, log }: SubjectParts, token: EntraToken): Promise<void> {
  const source = sources.get(token.source)
  const { tenantId, objectId, callerId } = token
  const service = await keepService(db, { tenantId, objectId, appId: callerId })
  // A person with that id, or a disabled service, is for the caller to refuse.
  if (!source?.exchange || !service?.enabled) return
  const run = {
    id: randomUUID(),
    source: source.slug,
    cause: 'exchange' as const,
    startedAt: service.now,
  }
  const apply = async (snapshot: Snapshot, rules: Rules) =>
    await reconcile(db, { userId: service.userId, tenantId }, snapshot, run, rules)
  if (source.exchange.groups === 'graph') {
    if ((service.syncedSecondsAgo ?? Number.POSITIVE_INFINITY) < goodForSeconds) return
    const snapshot = await readOrKeep(source, service, token, log)
    // What is read is whole, and nobody could agree to what were held: no worker reads a service.
    if (snapshot) await apply(snapshot, { ...source.rules, guard: noGuard })
    return
  }
  const told = toldBy(source, source.exchange, token, service)
  if (told) await apply(await withoutDeleted(db, tenantId, told), { guard: noGuard })
}

/** What the token proves of its service's groups; undefined where it proves nothing that isn't known. */
function toldBy(
  { clientId }: SubjectSource,
  { groups, groupMap }: ExchangeRules,
  { tenantId, roles, callerId, issuedAt }: EntraToken,
  service: StoredService,
): Snapshot | undefined {
  const memberships =
    groups === 'mapped'
      ? mappedGroups(groupMap, [...roles, callerId])
      : groupsOfRoles({ tenantId, apiId: clientId }, roles)
  // Entra's clock may be ahead of ours; a read never begins later than now.
  const beganAt = new Date(Math.min(issuedAt * 1000, Date.parse(service.now))).toISOString()
  const isKnown = service.snapshotAt !== null && Date.parse(service.snapshotAt) >= Date.parse(beganAt)
  if (isKnown && service.digest === digestOf(memberships)) return undefined
  return { beganAt, memberships, requestId: undefined }
}

/** A map goes on naming groups that Entra has deleted, which proves nothing about them. */
async function withoutDeleted(db: Database, tenantId: string, snapshot: Snapshot): Promise<Snapshot> {
  const ids = snapshot.memberships.map(({ objectId }) => objectId)
  const deleted = new Set(await listDeleted(db, tenantId, ids))
  return { ...snapshot, memberships: snapshot.memberships.filter(({ objectId }) => !deleted.has(objectId)) }
}

/** What Graph says; undefined, for what is stored, where it says nothing now and something is. */
async function readOrKeep(
  { readService, slug }: SubjectSource,
  { snapshotAt, now }: StoredService,
  { tenantId, objectId }: EntraToken,
  log: Log,
): Promise<Snapshot | undefined> {
  try {
    return await readService({ tenantId, objectId, beganAt: now })
  } catch (thrown) {
    const error = databaseFailure(thrown)
    log.warn(
      { source: slug, code: error.code, isDenied: error instanceof AccessDenied, requestId: error.requestId },
      'the groups of a service were not read',
    )
    if (snapshotAt !== null) return undefined
    throw error
  }
}

function refused(check: string, description: string): OAuthRefusal {
  return new OAuthRefusal('invalid_grant', check, description)
}

const passing = new Set<SyncError['code']>([
  'database_failed',
  'graph_unavailable',
  'access_denied',
  'token_rejected',
])

/** Whether what an exchange met is neither the caller's fault nor ours, or at least not for the caller to mend. */
export function isPassing(thrown: unknown): boolean {
  const error = databaseFailure(thrown)
  return error instanceof Throttled || passing.has(error.code)
}
