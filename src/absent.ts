import type { Database } from '../db/client.ts'
import { findTokensGone, freezeUser } from '../db/absent.ts'
import type { Run, RunCause } from '../db/sync-runs.ts'
import type { SyncSubject } from '../db/sync-subjects.ts'
import { AccessDenied, TokenRejected, type SyncError } from './errors.ts'
import { isAboutConsent } from './login/entra-error.ts'
import type { SyncUserJob } from './queue/catalogue.ts'
import { reconcile, type Reconciled, type Rules } from './reconcile/reconcile.ts'
import type { ResyncSettings } from './source-config.ts'

/** A source as far as people who don't come back go. */
export type AbsentSource = {
  slug: string
  /** False: its people sign in, and their groups are left alone. */
  syncs: boolean
  takesTenant: (tenantId: string) => boolean
  rules: Rules
  /** What becomes of people who don't come back, and whether the app reads people by itself. */
  resync: Pick<ResyncSettings, 'absent' | 'read'>
}

type AbsentParts = { db: Database; sources: ReadonlyMap<string, AbsentSource> }

/**
 * A resync that finds no usable token of a person who has been away for longer than the source allows does by them what its
 * rule says: freezes what is stored, or removes it, through the guards and the change log. Undefined where it says nothing.
 */
export async function applyAbsentRule<Begun extends Run>(
  { db, sources }: AbsentParts,
  job: SyncUserJob,
  { run, subject }: { run: Begun; subject: SyncSubject },
  error: SyncError,
): Promise<(Pick<Reconciled, 'outcome' | 'counts'> & { run: Begun & { cause: RunCause } }) | undefined> {
  const source = sources.get(job.source)
  const isRefused = error instanceof TokenRejected || error instanceof AccessDenied
  if (job.cause !== 'resync' || !isRefused || !source?.syncs) return undefined
  const { policy, afterDays } = source.resync.absent
  if (policy === 'keep' || subject.awayDays === null || subject.awayDays < afterDays) return undefined
  if (!(await isGoneEverywhere({ db, sources }, job, subject))) return undefined
  if (policy === 'freeze') {
    await freezeUser(db, subject.userId)
    return undefined
  }
  const nothing = { beganAt: subject.now, memberships: [], requestId: error.requestId, hidden: true }
  const absent = { ...run, cause: 'absent' as const, resyncId: job.resyncId }
  const { outcome, counts } = await reconcile(db, subject, nothing, absent, source.rules)
  return { run: absent, outcome, counts }
}

/**
 * Whether what is stored is refused for a reason of the person's own, and no other source can read them. Consent that is
 * missing, a key that is, or a whim of Graph says nothing of anybody.
 */
async function isGoneEverywhere(
  { db, sources }: AbsentParts,
  { source }: SyncUserJob,
  { userId, tenantId }: SyncSubject,
): Promise<boolean> {
  const others = [...sources.values()].filter(
    (other) => other.slug !== source && other.syncs && other.takesTenant(tenantId),
  )
  const ofApps = others.filter(({ resync }) => resync.read === 'app')
  const slugs = (of: readonly AbsentSource[]) => of.map(({ slug }) => slug)
  const gone = await findTokensGone(db, { userId, source }, { others: slugs(others), ofApps: slugs(ofApps) })
  return gone !== undefined && !gone.elsewhere && !isAboutConsent(gone.reason)
}
