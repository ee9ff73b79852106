import type { Directory } from '../directory/store.ts'
import type { Challenges } from '../entra/challenges.ts'
import type { Tokens } from '../entra/tokens.ts'
import type { NotificationHub } from '../notifications/hub.ts'
import type { Access } from './access.ts'
import type { Delta } from './delta-settings.ts'
import type { QueryOptions } from './query-options.ts'
import type { Throttling } from './throttling.ts'

/** What the Graph endpoints share. */
export type GraphTenant = {
  directory: Directory
  /** The directory as reads with `ConsistencyLevel: eventual` see it. */
  index: () => Directory
  tokens: Tokens
  challenges: Challenges
  now: () => number
  throttling: Throttling
  delta: Delta
  notifications: NotificationHub
  /** Whether groups of hidden membership are left out of a member's own lists without Member.Read.Hidden. */
  hiddenMembership: 'omitted' | 'shown'
}

/** One authorized request, its path split after the version. */
export type GraphCall = {
  tenant: GraphTenant
  baseUrl: string
  method: string
  /** With the version, as asked: next links repeat it. */
  path: string
  query: URLSearchParams
  options: QueryOptions
  body: string
  access: Access
}

export type GraphReply = { status: number; type: 'json' | 'text/plain' | 'none'; body: string }
