import { sql } from 'drizzle-orm'
import { boolean, check, index, pgTable, primaryKey, text, uniqueIndex, uuid } from 'drizzle-orm/pg-core'
import { at } from './columns.ts'
import { users } from './schema.ts'

/** Entra app registrations people sign in through; written at start-up from the configuration. */
export const sources = pgTable('sources', {
  slug: text().primaryKey(),
  name: text().notNull(),
  tenantId: text('tenant_id').notNull(),
  clientId: text('client_id').notNull(),
  createdAt: at('created_at').notNull().defaultNow(),
  updatedAt: at('updated_at').notNull().defaultNow(),
})

/** Who is signed in where; the cookie only carries the id. */
export const sessions = pgTable(
  'sessions',
  {
    id: uuid().primaryKey(),
    userId: uuid('user_id')
      .notNull()
      .references(() => users.id, { onDelete: 'cascade' }),
    source: text().notNull(),
    /** The session at Entra (`sid`), which it names when the person signs out there. */
    entraSession: text('entra_session'),
    logoutHint: text('logout_hint'),
    startedAt: at('started_at')
      .notNull()
      .default(sql`clock_timestamp()`),
    /** To the minute. */
    seenAt: at('seen_at')
      .notNull()
      .default(sql`clock_timestamp()`),
    endsAt: at('ends_at').notNull(),
  },
  (table) => [
    index('sessions_by_user').on(table.userId),
    index('sessions_by_entra_session').on(table.source, table.entraSession),
    index('sessions_by_end').on(table.endsAt),
  ],
)

/** Who may become a user where a source only takes the invited; by object id, or by user principal name until first used. */
export const invitations = pgTable(
  'invitations',
  {
    id: uuid().primaryKey().defaultRandom(),
    source: text().notNull(),
    objectId: text('object_id'),
    /** Lower-case. */
    userPrincipalName: text('user_principal_name'),
    invitedAt: at('invited_at').notNull().defaultNow(),
    /** The user who came of it. */
    userId: uuid('user_id').references(() => users.id, { onDelete: 'cascade' }),
  },
  (table) => [
    check('invitations_names_one', sql`(${table.objectId} is null) <> (${table.userPrincipalName} is null)`),
    uniqueIndex('invitations_once').on(table.source, table.objectId, table.userPrincipalName),
  ],
)

/**
 * What Entra thinks of a source's credentials, as the process that asked last has learnt. One that was replaced under the
 * same name is another one, and so are those of an older configuration that still runs.
 */
export const sourceCredentials = pgTable(
  'source_credentials',
  {
    source: text().notNull(),
    credential: text().notNull(),
    /** Tells one from another of the same name, and nothing of either. */
    fingerprint: text().notNull(),
    inUse: boolean('in_use').notNull(),
    refusedWith: text('refused_with'),
    refusedAt: at('refused_at'),
    updatedAt: at('updated_at')
      .notNull()
      .default(sql`clock_timestamp()`),
  },
  (table) => [primaryKey({ columns: [table.source, table.credential, table.fingerprint] })],
)

export const loginEvents = pgTable(
  'login_events',
  {
    id: uuid().primaryKey().defaultRandom(),
    source: text().notNull(),
    tenantId: text('tenant_id').notNull(),
    userId: uuid('user_id')
      .notNull()
      .references(() => users.id, { onDelete: 'cascade' }),
    receivedAt: at('received_at')
      .notNull()
      .default(sql`clock_timestamp()`),
    /** Null until the queue has taken the event; the relay looks for those. */
    enqueuedAt: at('enqueued_at'),
  },
  (table) => [
    index('login_events_by_user').on(table.userId, table.receivedAt.desc()),
    index('login_events_not_enqueued')
      .on(table.receivedAt)
      .where(sql`enqueued_at is null`),
    index('login_events_by_enqueued').on(table.enqueuedAt),
  ],
)

/** The newest tokens of a user for one source, sealed (JWE). One row a user and source. */
export const delegatedTokens = pgTable(
  'delegated_tokens',
  {
    userId: uuid('user_id')
      .notNull()
      .references(() => users.id, { onDelete: 'cascade' }),
    source: text().notNull(),
    sealed: text().notNull(),
    /** Another one with each new pair of tokens; sealing the same anew leaves it. */
    version: uuid().notNull().defaultRandom(),
    keyId: text('key_id').notNull(),
    expiresAt: at('expires_at').notNull(),
    scopes: text().array().notNull(),
    /** Whose the access token is: Graph's, or our own API's, to be exchanged for one of Graph's. */
    audience: text().notNull().default('graph'),
    /** Whether they still work: a refusal stands until the next sign-in. */
    state: text().notNull().default('valid'),
    /** Why they don't, in Entra's words (`AADSTS50173`) or ours. */
    reason: text(),
    /** What the next sign-in has to ask for, as JSON: the claims of a challenge. */
    claims: text(),
    updatedAt: at('updated_at')
      .notNull()
      .default(sql`clock_timestamp()`),
  },
  (table) => [
    primaryKey({ columns: [table.userId, table.source] }),
    check('delegated_tokens_audience', sql`${table.audience} in ('graph', 'api')`),
    check('delegated_tokens_state', sql`${table.state} in ('valid', 'needs_login', 'denied')`),
    index('delegated_tokens_by_key').on(table.keyId),
  ],
)
