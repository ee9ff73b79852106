import { sql } from 'drizzle-orm'
import {
  bigint,
  boolean,
  check,
  doublePrecision,
  index,
  integer,
  pgTable,
  primaryKey,
  text,
  unique,
  uniqueIndex,
  uuid,
} from 'drizzle-orm/pg-core'
import { at } from './columns.ts'
import { resyncs } from './schema-resync.ts'

export const users = pgTable(
  'users',
  {
    id: uuid().primaryKey().defaultRandom(),
    tenantId: text('tenant_id').notNull(),
    objectId: text('object_id').notNull(),
    /** A service is an app that has exchanged a token of its own; nobody signs in as it. */
    kind: text().notNull().default('person'),
    /** Of a service: the client id of its app registration. */
    appId: text('app_id'),
    userPrincipalName: text('user_principal_name'),
    displayName: text('display_name'),
    mail: text(),
    /** Further addresses of the person, as Graph tells them. */
    otherMails: text('other_mails').array(),
    enabled: boolean().notNull().default(true),
    /** Who disabled the person: Entra, until it lets them in again, or somebody here, until somebody here takes it back. */
    disabledBy: text('disabled_by'),
    lastLoginAt: at('last_login_at'),
    /** When a run last ended with the memberships proven right. */
    lastSyncedAt: at('last_synced_at'),
    /** When the read behind the memberships stored now began: the newest wins. */
    snapshotAt: at('snapshot_at'),
    /** Digest of the remote memberships stored now; equal digest = nothing to write. Null or `void …` equals none. */
    membershipDigest: text('membership_digest'),
    /** The memberships stored now were read with the permission to see groups with hidden membership. */
    hiddenRead: boolean('hidden_read').notNull().default(false),
    /** The memberships stored now were read with a permission to read groups. */
    groupsRead: boolean('groups_read').notNull().default(false),
    syncState: text('sync_state').notNull().default('never'),
    /**
     * Since when the person has been away for longer than the source's rule allows: what is stored of them is not to be
     * relied on.
     */
    frozenAt: at('frozen_at'),
    /** When the person last asked for a sync. */
    syncAskedAt: at('sync_asked_at'),
    createdAt: at('created_at').notNull().defaultNow(),
  },
  (table) => [
    unique('users_identity').on(table.tenantId, table.objectId),
    check(
      'users_sync_state',
      sql`${table.syncState} in ('never', 'synced', 'held', 'needs_login', 'denied', 'failed')`,
    ),
    check('users_kind', sql`${table.kind} in ('person', 'service')`),
    check('users_disabled_by', sql`${table.disabledBy} in ('entra', 'local')`),
    check('users_disabled', sql`${table.enabled} = (${table.disabledBy} is null)`),
    index('users_due').on(table.lastSyncedAt.asc().nullsFirst(), table.id),
  ],
)

export const groups = pgTable(
  'groups',
  {
    id: uuid().primaryKey().defaultRandom(),
    tenantId: text('tenant_id').notNull(),
    objectId: text('object_id').notNull(),
    displayName: text('display_name'),
    description: text(),
    mail: text(),
    securityEnabled: boolean('security_enabled'),
    mailEnabled: boolean('mail_enabled'),
    groupTypes: text('group_types').array(),
    firstSeenAt: at('first_seen_at').notNull().defaultNow(),
    /** Begin of the newest read whose labels this row carries; an older read doesn't overwrite them. */
    lastSeenAt: at('last_seen_at').notNull().defaultNow(),
    deletedAt: at('deleted_at'),
  },
  (table) => [unique('groups_identity').on(table.tenantId, table.objectId)],
)

/**
 * What each app registration may still ask of Microsoft Graph in a tenant, shared by all workers. Times are milliseconds
 * since 1970. The migration makes it unlogged: a crashed server forgets it, and it is learnt anew.
 */
export const tenantBudgets = pgTable(
  'tenant_budgets',
  {
    clientId: text('client_id').notNull(),
    tenantId: text('tenant_id').notNull(),
    /** Where the slots promised to sign-ins end. */
    highAt: doublePrecision('high_at').notNull().default(0),
    /** Where all promised slots end. */
    lowAt: doublePrecision('low_at').notNull().default(0),
    /** Units of slots promised to resyncs that sign-ins took. */
    owed: doublePrecision().notNull().default(0),
    /** Share of the rate in use when `paced_at` was. */
    pace: doublePrecision().notNull().default(1),
    pacedAt: doublePrecision('paced_at').notNull().default(0),
    pausedUntil: doublePrecision('paused_until').notNull().default(0),
    /** Pauses in a row. */
    pauses: integer().notNull().default(0),
    /** Grows with each pause, which makes void what was promised before. */
    generation: integer().notNull().default(0),
  },
  (table) => [primaryKey({ columns: [table.clientId, table.tenantId] })],
)

/** One attempt to bring one user up to date; written once, when the attempt ends. */
export const syncRuns = pgTable(
  'sync_runs',
  {
    id: uuid().primaryKey().defaultRandom(),
    userId: uuid('user_id')
      .notNull()
      .references(() => users.id, { onDelete: 'cascade' }),
    source: text().notNull(),
    cause: text().notNull(),
    resyncId: uuid('resync_id').references(() => resyncs.id, { onDelete: 'set null' }),
    startedAt: at('started_at').notNull(),
    endedAt: at('ended_at')
      .notNull()
      .default(sql`clock_timestamp()`),
    outcome: text().notNull(),
    /** The attempt failed and another one follows. */
    retried: boolean().notNull().default(false),
    errorCode: text('error_code'),
    graphRequestId: text('graph_request_id'),
    remoteCount: integer('remote_count').notNull().default(0),
    groupsCreated: integer('groups_created').notNull().default(0),
    groupsUpdated: integer('groups_updated').notNull().default(0),
    added: integer().notNull().default(0),
    removed: integer().notNull().default(0),
    /** Removals the guard held back. */
    held: integer().notNull().default(0),
    /** Of which groups. */
    heldGroups: uuid('held_groups').array(),
    /** Which limit held them: the person's own, that of what the token lets be seen, or that of the whole resync. */
    heldBy: text('held_by'),
    /** What its reads have cost. */
    requests: integer().notNull().default(0),
    resourceUnits: integer('resource_units').notNull().default(0),
    /** When an administrator agreed to what was held. */
    approvedAt: at('approved_at'),
  },
  (table) => [
    check(
      'sync_runs_cause',
      sql`${table.cause} in ('login', 'resync', 'manual', 'approve', 'absent', 'exchange')`,
    ),
    check(
      'sync_runs_outcome',
      sql`${table.outcome} in ('applied', 'unchanged', 'stale', 'held', 'needs_login', 'denied', 'failed')`,
    ),
    check('sync_runs_held_by', sql`${table.heldBy} in ('person', 'reach', 'resync')`),
    index('sync_runs_by_user').on(table.userId, table.startedAt.desc()),
    index('sync_runs_by_resync')
      .on(table.resyncId)
      .where(sql`resync_id is not null`),
  ],
)

export const memberships = pgTable(
  'memberships',
  {
    userId: uuid('user_id')
      .notNull()
      .references(() => users.id, { onDelete: 'cascade' }),
    groupId: uuid('group_id')
      .notNull()
      .references(() => groups.id, { onDelete: 'restrict' }),
    origin: text().notNull(),
    since: at('since')
      .notNull()
      .default(sql`clock_timestamp()`),
    /** The run that added it; null for local ones. */
    runId: uuid('run_id'),
  },
  (table) => [
    primaryKey({ columns: [table.userId, table.groupId, table.origin] }),
    check('memberships_origin', sql`${table.origin} in ('entra', 'local')`),
    index('memberships_by_group').on(table.groupId),
  ],
)

/** Append-only (a trigger refuses update and delete): one row for every membership added or removed. */
export const membershipChanges = pgTable(
  'membership_changes',
  {
    id: bigint({ mode: 'number' }).primaryKey().generatedAlwaysAsIdentity(),
    userId: uuid('user_id').notNull(),
    groupId: uuid('group_id').notNull(),
    origin: text().notNull(),
    change: text().notNull(),
    runId: uuid('run_id'),
    at: at('at')
      .notNull()
      .default(sql`clock_timestamp()`),
  },
  (table) => [
    check('membership_changes_change', sql`${table.change} in ('added', 'removed')`),
    check('membership_changes_origin', sql`${table.origin} in ('entra', 'local')`),
    uniqueIndex('membership_changes_once').on(table.runId, table.userId, table.groupId),
    index('membership_changes_by_user').on(table.userId, table.at.desc()),
    index('membership_changes_by_group').on(table.groupId, table.at.desc()),
  ],
)

/** Who was taken by a resync that goes on and has not been synced since: so many at a time, whatever the source's size. */
export const resyncUsers = pgTable(
  'resync_users',
  {
    resyncId: uuid('resync_id')
      .notNull()
      .references(() => resyncs.id, { onDelete: 'cascade' }),
    userId: uuid('user_id')
      .notNull()
      .references(() => users.id, { onDelete: 'cascade' }),
    takenAt: at('taken_at')
      .notNull()
      .default(sql`clock_timestamp()`),
    /** When the queue took a job for the person last; null before. */
    enqueuedAt: at('enqueued_at'),
  },
  (table) => [
    primaryKey({ columns: [table.resyncId, table.userId] }),
    index('resync_users_by_user').on(table.userId),
  ],
)

/**
 * Of whom a round of changes has told, until a read of them has begun so long afterwards that Graph's index knows of it:
 * what is told is told once.
 */
export const deltaHints = pgTable(
  'delta_hints',
  {
    source: text().notNull(),
    userId: uuid('user_id')
      .notNull()
      .references(() => users.id, { onDelete: 'cascade' }),
    toldAt: at('told_at').notNull(),
    /** From when on a round takes them once more. */
    dueAt: at('due_at').notNull(),
  },
  (table) => [
    primaryKey({ columns: [table.source, table.userId] }),
    index('delta_hints_by_user').on(table.userId),
  ],
)
