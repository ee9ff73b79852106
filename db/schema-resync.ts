import { sql } from 'drizzle-orm'
import { boolean, check, integer, pgTable, primaryKey, text, uniqueIndex, uuid } from 'drizzle-orm/pg-core'
import { at } from './columns.ts'

/** One fan-out of sync jobs to those of a source's people who are due. It is kept after its end. */
export const resyncs = pgTable(
  'resyncs',
  {
    id: uuid().primaryKey().defaultRandom(),
    source: text().notNull(),
    mode: text().notNull(),
    cause: text().notNull(),
    state: text().notNull().default('running'),
    startedAt: at('started_at').notNull().defaultNow(),
    /** From when on people are taken: a schedule's runs don't all begin at once. */
    beginsAt: at('begins_at').notNull().defaultNow(),
    endedAt: at('ended_at'),
    /** Who was last synced before is due. */
    cutoffAt: at('cutoff_at').notNull().defaultNow(),
    /** Seconds over which those who are due are spread. */
    spreadSeconds: integer('spread_seconds').notNull().default(0),
    /** The last who was taken, in the order of `last_synced_at`, nulls first, and id. */
    cursorSyncedAt: at('cursor_synced_at'),
    cursorUserId: uuid('cursor_user_id'),
    /** Nobody is left to be taken. */
    allTaken: boolean('all_taken').notNull().default(false),
    /** When a worker last looked after it. */
    tendedAt: at('tended_at'),
    /** When somebody agreed to what its guard holds. */
    approvedAt: at('approved_at'),
    errorCode: text('error_code'),
    /**
     * What those before it have removed that ended `held` and that nobody has agreed to, and what has left with deleted
     * groups since it began: its guard goes on from there.
     */
    removedBefore: integer('removed_before').notNull().default(0),
    /** People at its start; it may turn out to be a few more or less. */
    due: integer().notNull().default(0),
    taken: integer().notNull().default(0),
    done: integer().notNull().default(0),
    changed: integer().notNull().default(0),
    held: integer().notNull().default(0),
    failed: integer().notNull().default(0),
    denied: integer().notNull().default(0),
    needsLogin: integer('needs_login').notNull().default(0),
    requests: integer().notNull().default(0),
    resourceUnits: integer('resource_units').notNull().default(0),
  },
  (table) => [
    check('resyncs_mode', sql`${table.mode} in ('full', 'delta')`),
    check('resyncs_state', sql`${table.state} in ('running', 'done', 'held', 'cancelled', 'failed')`),
    uniqueIndex('resyncs_one_running')
      .on(table.source, table.mode)
      .where(sql`state = 'running'`),
  ],
)

export const deltaLinks = pgTable(
  'delta_links',
  {
    source: text().notNull(),
    resource: text().notNull(),
    link: text().notNull(),
    obtainedAt: at('obtained_at').notNull().defaultNow(),
  },
  (table) => [
    primaryKey({ columns: [table.source, table.resource] }),
    check('delta_links_resource', sql`${table.resource} in ('groups', 'users')`),
  ],
)

/** What Graph tells of changed groups of a source, and that it has told of any: one row a source. */
export const subscriptions = pgTable(
  'subscriptions',
  {
    source: text().primaryKey(),
    tenantId: text('tenant_id').notNull(),
    /** Where notifications go to. */
    url: text().notNull(),
    /** Graph's; null while there is none. */
    subscriptionId: text('subscription_id'),
    /** SHA-256, in hexadecimal, of what each notification must bring along. */
    clientStateHash: text('client_state_hash'),
    expiresAt: at('expires_at'),
    /** When it is due to be renewed, and when it was. */
    renewAt: at('renew_at'),
    renewedAt: at('renewed_at'),
    /** Graph has asked for it to be authorised anew. */
    reauthorize: boolean().notNull().default(false),
    /** Nothing is tried before that: the last attempt failed. */
    tryAt: at('try_at').notNull().defaultNow(),
    failures: integer().notNull().default(0),
    errorCode: text('error_code'),
    /** When a worker that knows the source last looked after it. */
    tendedAt: at('tended_at').notNull().defaultNow(),
    /** When a change was told of that nobody has asked about yet, and when somebody last set out to. */
    changedAt: at('changed_at'),
    askedAt: at('asked_at'),
  },
  (table) => [
    check(
      'subscriptions_whole',
      sql`(${table.subscriptionId} is null) = (${table.clientStateHash} is null)
        and (${table.subscriptionId} is null) = (${table.renewAt} is null)`,
    ),
  ],
)
