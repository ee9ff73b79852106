import { randomUUID } from 'node:crypto'
import type { Database } from '../../db/client.ts'
import { noGuard } from '../../src/reconcile/guard.ts'
import { reconcile, type Reconciled, type Rules, type Subject } from '../../src/reconcile/reconcile.ts'
import type { RemoteMembership } from '../../src/snapshot.ts'

let ticks = 0

/** A moment later than the one before it, to the microsecond. */
export function nextMoment(): string {
  ticks += 1
  return `2026-05-01T08:00:00.${`${ticks}`.padStart(6, '0')}Z`
}

export type SyncOptions = { beganAt?: string; runId?: string; resyncId?: string; rules?: Partial<Rules> }

/** Reconciles a user with what was read, by a run of its own. */
export async function sync(
  db: Database,
  subject: Subject,
  memberships: readonly RemoteMembership[],
  { beganAt = nextMoment(), runId = randomUUID(), resyncId, rules }: SyncOptions = {},
): Promise<Reconciled> {
  const run = { id: runId, source: 'entra-id', cause: 'login' as const, startedAt: beganAt, resyncId }
  const snapshot = { beganAt, memberships, requestId: 'graph-request' }
  return await reconcile(db, subject, snapshot, run, { guard: noGuard, ...rules })
}

/** Object ids of the groups a user is in, sorted. */
export async function groupsOf(db: Database, subject: Subject, origin = 'entra'): Promise<string[]> {
  const rows = await db.$client<{ objectId: string }[]>`
    select g.object_id as "objectId" from memberships m join groups g on g.id = m.group_id
    where m.user_id = ${subject.userId} and m.origin = ${origin} order by g.object_id collate "C"`
  return rows.map(({ objectId }) => objectId)
}

export type Change = { objectId: string; change: 'added' | 'removed'; runId: string }

/** A user's change log, oldest first. */
export async function changesOf(db: Database, subject: Subject): Promise<Change[]> {
  return await db.$client<Change[]>`
    select g.object_id as "objectId", c.change, c.run_id as "runId"
    from membership_changes c join groups g on g.id = c.group_id
    where c.user_id = ${subject.userId} and c.origin = 'entra' order by c.id`
}

/** The memberships that a change log leads to; a change that can't follow what went before is an error. */
export function replay(changes: readonly Change[]): string[] {
  const groups = new Set<string>()
  for (const { objectId, change } of changes) {
    const done = change === 'added' ? !groups.has(objectId) : groups.has(objectId)
    if (!done) throw new Error(`${objectId} ${change} twice`)
    if (change === 'added') groups.add(objectId)
    else groups.delete(objectId)
  }
  return [...groups].toSorted()
}

export async function groupRow(db: Database, tenantId: string, objectId: string) {
  const rows = await db.$client<
    {
      id: string
      displayName: string | null
      description: string | null
      mail: string | null
      groupTypes: string[] | null
      securityEnabled: boolean | null
      deleted: boolean
      /** Changes with every write of the row. */
      version: string
    }[]
  >`
    select id, display_name as "displayName", description, mail, to_json(group_types) as "groupTypes",
      security_enabled as "securityEnabled", deleted_at is not null as deleted, ctid::text || xmin::text as version
    from groups where tenant_id = ${tenantId} and object_id = ${objectId}`
  const [row] = rows
  if (!row || rows.length > 1) throw new Error(`${rows.length} rows of the group ${objectId}`)
  return row
}

/** The statements that a piece of work sends. */
export async function statementsOf(db: Database, work: () => Promise<unknown>): Promise<string[]> {
  const statements: string[] = []
  const { options } = db.$client
  const before = options.debug
  options.debug = (_connection, query) => void statements.push(query)
  try {
    await work()
  } finally {
    options.debug = before
  }
  return statements
}
