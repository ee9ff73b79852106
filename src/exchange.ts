import { randomUUID } from 'node:crypto'
import type { Database } from '../db/client.ts'
import { listDeleted } from '../db/groups.ts'
import { keepService, type StoredService } from '../db/services.ts'
import { findTokenSubject, type TokenSubject } from '../db/token-subjects.ts'
import { databaseFailure } from './database-failure.ts'
import { Throttled, type SyncError } from './errors.ts'
import type { EntraToken } from './issuer/entra-token.ts'
import { maxGroups } from './issuer/local-token.ts'
import { OAuthRefusal } from './issuer/refusal.ts'
import type { Log } from './log.ts'
import { digestOf } from './reconcile/digest.ts'
import { groupsOfRoles, mappedGroups } from './reconcile/granted.ts'
import { noGuard } from './reconcile/guard.ts'
import type { ReadService } from './read-service.ts'
import { reconcile, type Rules } from './reconcile/reconcile.ts'
import { applyNews, createUnderWay, readAnew, type UnderWay } from './service-update.ts'
import type { Snapshot } from './snapshot.ts'
import type { ExchangeRules } from './source-config.ts'

/** A source as far as whose groups a token's are goes. */
export type SubjectSource = {
  slug: string
  clientId: string
  exchange: ExchangeRules | undefined
  rules: Rules
  readService: ReadService
}

export type SubjectParts = {
  db: Database
  sources: ReadonlyMap<string, SubjectSource>
  log: Log
}

/** Milliseconds that an exchange waits for whoever holds its service's row. */
const lockTimeoutMs = 1000

/** By service, when the token was issued that this process has compared last with what is stored. */
type Compared = Map<string, number>

/** Services of which that is known; of more, the oldest is compared once more. */
const maxCompared = 10_000

/**
 * Whom a token is about, with the groups that are stored once they have been brought up to it. A person has to be one who
 * signs in here; a service is kept at its first exchange, and is the same at every other.
 *
 * However many exchanges of a service come at once, one of them asks Graph and one of them writes.
 * @throws {OAuthRefusal} `invalid_grant` for whom no token is given. @throws {SyncError} for what is out of reach.
 */
export function createSubjectOf(parts: SubjectParts): (token: EntraToken) => Promise<TokenSubject> {
  const underWay = createUnderWay()
  const compared: Compared = new Map()
  return async (token) => {
    if (token.kind === 'app') await bringUpToDate(parts, { underWay, compared }, token)
    const { tenantId, objectId } = token
    const subject = await findTokenSubject(parts.db, { tenantId, objectId }, maxGroups)
    if (!subject)
      throw refused('unknown', 'whom the token is about is not known here; people have to sign in here once')
    const meant = token.kind === 'app' ? 'service' : 'person'
    if (subject.kind !== meant) throw refused('other_kind', otherKind[meant])
    if (!subject.enabled) throw refused('disabled', 'whom the token is about is disabled here')
    return subject
  }
}

const otherKind = {
  service:
    'the token is of an app, and a person has its object id here: a sign-in was reported with it, and no service is made until that row is gone',
  person:
    'the token is of a person, and a service has their object id here: an app has exchanged a token with it',
} as const

async function bringUpToDate(
  { db, sources, log }: SubjectParts,
  { underWay, compared }: { underWay: UnderWay; compared: Compared },
  token: EntraToken,
): Promise<void> {
  const source = sources.get(token.source)
  const { tenantId, objectId, callerId } = token
  const look = async () => await keepService(db, { tenantId, objectId, appId: callerId })
  const first = await look()
  // A person with that id, or a disabled service, is for the caller to refuse.
  if (!source?.exchange || !first?.enabled) return
  const { slug, exchange, readService } = source
  const { userId, now: startedAt } = first
  const apply = async (snapshot: Snapshot, rules: Rules) => {
    const run = { id: randomUUID(), source: slug, cause: 'exchange' as const, startedAt }
    await reconcile(db, { userId, tenantId }, snapshot, run, { ...rules, lockTimeoutMs })
  }
  if (exchange.groups === 'graph') {
    await readAnew(
      underWay,
      { first, look },
      {
        slug,
        log,
        read: async (beganAt) => await readService({ tenantId, objectId, beganAt }),
        // What is read is whole, and nobody could agree to what were held: no worker reads a service.
        apply: async (snapshot) => await apply(snapshot, { ...source.rules, guard: noGuard }),
      },
    )
    return
  }
  const newsOf = async (service: StoredService) => {
    const told = toldBy(source, exchange, token, service)
    return await unknownOf(db, told, { token, service, compared })
  }
  await applyNews(underWay, { first, look }, newsOf, async (snapshot) => {
    await apply(snapshot, { guard: noGuard })
    noteCompared(compared, userId, token.issuedAt)
  })
}

function noteCompared(compared: Compared, userId: string, issuedAt: number): void {
  compared.delete(userId)
  compared.set(userId, issuedAt)
  const [oldest] = compared.keys()
  if (compared.size > maxCompared && oldest !== undefined) compared.delete(oldest)
}

/** What the token proves of its service's groups. */
function toldBy(
  { clientId }: SubjectSource,
  { groups, groupMap }: ExchangeRules,
  { tenantId, roles, callerId, issuedAt }: EntraToken,
  service: StoredService,
): Snapshot {
  const memberships =
    groups === 'mapped'
      ? mappedGroups(groupMap, [...roles, callerId])
      : groupsOfRoles({ tenantId, apiId: clientId }, roles)
  // Entra's clock may be ahead of ours; a read never begins later than now.
  const beganAt = new Date(Math.min(issuedAt * 1000, Date.parse(service.now))).toISOString()
  return { beganAt, memberships, requestId: undefined }
}

/** Milliseconds by which what is stored may be ahead of the database's clock before that was put back. */
const aheadMs = 5000

/**
 * The part of it that counts; undefined where it proves nothing that isn't known. Of two tokens of one second the first
 * counts; one that this process hasn't compared yet is compared, since the map may be another than when it was.
 */
async function unknownOf(
  db: Database,
  told: Snapshot,
  {
    token: { tenantId, issuedAt },
    service,
    compared,
  }: { token: EntraToken; service: StoredService; compared: Compared },
): Promise<Snapshot | undefined> {
  const storedAt = service.snapshotAt === null ? Number.NEGATIVE_INFINITY : Date.parse(service.snapshotAt)
  const beganAt = Date.parse(told.beganAt)
  const isAsNew = storedAt >= beganAt && storedAt <= Date.parse(service.now) + aheadMs
  if (isAsNew && (storedAt > beganAt || compared.get(service.userId) === issuedAt)) return undefined
  const left = await withoutDeleted(db, tenantId, told)
  if (!isAsNew || service.digest !== digestOf(left.memberships)) return left
  noteCompared(compared, service.userId, issuedAt)
  return undefined
}

/** A map goes on naming groups that Entra has deleted, which proves nothing about them. */
async function withoutDeleted(db: Database, tenantId: string, snapshot: Snapshot): Promise<Snapshot> {
  const ids = snapshot.memberships.map(({ objectId }) => objectId)
  const deleted = new Set(await listDeleted(db, tenantId, ids))
  return { ...snapshot, memberships: snapshot.memberships.filter(({ objectId }) => !deleted.has(objectId)) }
}

function refused(check: string, description: string): OAuthRefusal {
  return new OAuthRefusal('invalid_grant', check, description)
}

const passing = new Set<SyncError['code']>([
  'database_failed',
  'graph_unavailable',
  'answer_too_large',
  'access_denied',
  'token_rejected',
])

/** Whether what an exchange met is neither the caller's fault nor ours, or at least not for the caller to mend. */
export function isPassing(thrown: unknown): boolean {
  const error = databaseFailure(thrown)
  return error instanceof Throttled || passing.has(error.code)
}
