import type { Database } from './client.ts'

/** `absent`: a resync applies the source's rule for people who don't come back. `exchange`: a service told its roles. */
export type RunCause = 'login' | 'resync' | 'manual' | 'approve' | 'absent' | 'exchange'

/** What is known of a run before it ends. Its id is made by who starts it, anew for every attempt. */
export type Run = {
  id: string
  /** Slug of the source. */
  source: string
  cause: RunCause
  resyncId?: string | undefined
  /** ISO 8601. */
  startedAt: string
  graphRequestId?: string | undefined
  /** What its requests to Graph have cost; left out, nothing. */
  cost?: RunCost | undefined
}

export type RunCost = { requests: number; resourceUnits: number }

/** Which limit holds a plan's removals: the person's, that of what the token lets be seen, or that of a whole resync. */
export type HeldBy = 'person' | 'reach' | 'resync'

/** A run that ended before anything could be compared. */
export type EndedRun = Run & {
  userId: string
  outcome: 'needs_login' | 'denied' | 'failed'
  errorCode: string
  /** Another attempt follows. */
  retried?: boolean
}

export type StoredRun = {
  id: string
  source: string
  cause: RunCause
  resyncId: string | null
  /** ISO 8601, as is `endedAt`. */
  startedAt: string
  endedAt: string
  outcome: 'applied' | 'unchanged' | 'stale' | 'held' | 'needs_login' | 'denied' | 'failed'
  /** The attempt failed and another one follows. */
  retried: boolean
  errorCode: string | null
  graphRequestId: string | null
  remoteCount: number
  groupsCreated: number
  groupsUpdated: number
  added: number
  removed: number
  /** Removals the guard held back. */
  held: number
}

/**
 * Records a run that ended without a comparison, and the user's state with it: memberships stay. The state is left alone
 * where the user was synced after the run had started. A user who is gone has no runs: then nothing is stored.
 */
export async function recordRun(db: Database, run: EndedRun): Promise<void> {
  const sql = db.$client
  await sql`
    with marked as (
      update users set sync_state = ${run.outcome}
      where id = ${run.userId} and (last_synced_at is null or last_synced_at <= ${run.startedAt}::timestamptz)
    )
    insert into sync_runs (id, user_id, source, cause, resync_id, started_at, outcome, retried, error_code,
      graph_request_id, requests, resource_units)
    select ${run.id}::uuid, id, ${run.source}, ${run.cause}, ${run.resyncId ?? null}::uuid,
      ${run.startedAt}::timestamptz, ${run.outcome}, ${run.retried ?? false}, ${run.errorCode}, ${run.graphRequestId ?? null},
      ${run.cost?.requests ?? 0}, ${run.cost?.resourceUnits ?? 0}
    from users where id = ${run.userId}`
}

/** The newest ended run of a user that started at or after a moment: the answer to a sign-in that waits for one. */
export async function findRunSince(
  db: Database,
  userId: string,
  startedAtOrLater: string,
): Promise<StoredRun | undefined> {
  const [run] = await db.$client<StoredRun[]>`
    ${selectRun(db)}
    where user_id = ${userId} and started_at >= ${startedAtOrLater}::timestamptz
    order by started_at desc nulls last, ended_at desc limit 1`
  return run
}

/** Newest first. */
export async function listRuns(db: Database, userId: string, limit: number): Promise<StoredRun[]> {
  return await db.$client<StoredRun[]>`
    ${selectRun(db)}
    where user_id = ${userId}
    order by started_at desc nulls last, ended_at desc limit ${limit}`
}

function selectRun(db: Database) {
  return db.$client`
    select id, source, cause, resync_id as "resyncId", to_json(started_at) #>> '{}' as "startedAt",
      to_json(ended_at) #>> '{}' as "endedAt", outcome, retried, error_code as "errorCode",
      graph_request_id as "graphRequestId", remote_count as "remoteCount", groups_created as "groupsCreated",
      groups_updated as "groupsUpdated", added, removed, held
    from sync_runs`
}

/** Later runs of the same user that make a held run a thing of the past. */
function isOpen(db: Database) {
  return db.$client`held.outcome = 'held' and not exists (
    select from sync_runs later
    where later.user_id = held.user_id and later.started_at > held.started_at and later.outcome in ('applied', 'unchanged'))`
}

export type HeldRun = { userId: string; tenantId: string; source: string; held: number }

/**
 * Agrees to what a held run held back. Undefined where there is nothing to agree to: no such run, it held nothing, or a
 * later run of that user applied cleanly.
 */
export async function approveRun(db: Database, runId: string): Promise<HeldRun | undefined> {
  const [run] = await db.$client<HeldRun[]>`
    update sync_runs held set approved_at = coalesce(approved_at, clock_timestamp())
    where id = ${runId} and ${isOpen(db)}
    returning user_id as "userId", (select tenant_id from users where id = user_id) as "tenantId", source, held`
  return run
}

/** Days for which an agreement holds: what a person's groups are by then somebody has to look at anew. */
const approvedDays = 7

/** Ids of the groups whose removal from a user is agreed to and not carried out yet. */
export async function approvedRemovals(db: Database, userId: string): Promise<ReadonlySet<string>> {
  const groups = await db.$client<{ id: string }[]>`
    select distinct unnest(held.held_groups) as id from sync_runs held
    where user_id = ${userId} and approved_at > clock_timestamp() - ${approvedDays} * interval '1 day' and ${isOpen(db)}`
  return new Set(groups.map(({ id }) => id))
}

/** Agrees to what the guard of a whole resync holds. Resolves with whose runs these are, a page of them. */
export async function approveRunsOf(db: Database, resyncId: string, limit: number): Promise<HeldRun[]> {
  return await db.$client<HeldRun[]>`
    update sync_runs held set approved_at = clock_timestamp()
    where id in (
      select id from sync_runs held where resync_id = ${resyncId} and held_by = 'resync' and approved_at is null and ${isOpen(db)}
      limit ${limit})
    returning user_id as "userId", (select tenant_id from users where id = user_id) as "tenantId", source, held`
}
