import { pgTable, text } from 'drizzle-orm/pg-core'
import { at } from './columns.ts'

/** Keys that sign local tokens, shared by all gateways. The newest that has begun signs; the others are published. */
export const signingKeys = pgTable('signing_keys', {
  kid: text().primaryKey(),
  /** As key sets have it, as JSON. */
  publicJwk: text('public_jwk').notNull(),
  /** The private key, sealed (JWE). */
  sealed: text().notNull(),
  /** Of the key that sealed it. */
  keyId: text('key_id').notNull(),
  /** From when on it signs: whoever keeps a copy of the key set has read it by then. Not before it goes, where it was followed first. */
  signsFrom: at('signs_from').notNull(),
  /** When the last token it signed is over; null for the newest. */
  publishedUntil: at('published_until'),
})
