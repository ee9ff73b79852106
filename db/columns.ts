import { timestamp } from 'drizzle-orm/pg-core'

/** Milliseconds are kept: snapshots of one user are ordered by them. */
export const at = (name: string) => timestamp(name, { withTimezone: true, precision: 6, mode: 'string' })
