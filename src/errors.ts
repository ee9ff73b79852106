import { storableRequestId } from './storable-text.ts'

/**
 * Every way a run can go wrong. Codes are stable: they stand in `sync_runs.error_code`, in logs and in the
 * documentation, and decisions are made on them, never on a message.
 */
export type ErrorCode =
  | 'token_rejected'
  | 'token_missing'
  | 'token_unreadable'
  | 'access_denied'
  | 'sign_in_denied'
  | 'throttled'
  | 'throttled_too_long'
  | 'graph_unavailable'
  | 'answer_too_large'
  | 'unexpected_response'
  | 'wrong_user'
  | 'wrong_tenant'
  | 'source_unknown'
  | 'group_sync_off'
  | 'user_unknown'
  | 'database_failed'
  | 'queue_unavailable'
  | 'invalid_job'
  | 'invalid_login_event'
  | 'run_not_held'
  | 'config_invalid'
  | 'internal'

export type ErrorDetails = {
  cause?: unknown
  /** Graph's `request-id` or Entra's `correlation_id`: what Microsoft's support asks for. */
  requestId?: string | undefined
}

/** The base of all our errors. Messages carry no token, no parameter of a query and no body of an answer. */
export class SyncError extends Error {
  readonly code: ErrorCode
  readonly requestId: string | undefined

  constructor(code: ErrorCode, message: string, details: ErrorDetails = {}) {
    super(message, details.cause === undefined ? undefined : { cause: details.cause })
    this.name = 'SyncError'
    this.code = code
    this.requestId = storableRequestId(details.requestId)
  }
}

/** The user has to sign in again: a refused token or refresh token, or none stored. Not retried, removes nothing. */
export class TokenRejected extends SyncError {
  /** Why, in Entra's or Graph's own words: an OAuth `error`, a code such as `AADSTS50173`, or ours. */
  readonly reason: string
  /** JSON of a claims challenge: what the next token has to be asked for with. */
  readonly claims: string | undefined

  constructor(reason: string, message: string, details: RefusalDetails = {}) {
    super(details.code ?? 'token_rejected', message, details)
    this.name = 'TokenRejected'
    this.reason = reason
    this.claims = details.claims
  }
}

export type RefusalDetails = ErrorDetails & { code?: ErrorCode; claims?: string | undefined }

/**
 * The token is good but lacks a permission (`access_denied`), or Entra lets this person not in, whoever asks
 * (`sign_in_denied`). Not retried, removes nothing.
 */
export class AccessDenied extends SyncError {
  /** As that of {@link TokenRejected}. */
  readonly reason: string
  readonly claims: string | undefined

  constructor(message: string, details: RefusalDetails & { reason?: string } = {}) {
    super(details.code ?? 'access_denied', message, details)
    this.name = 'AccessDenied'
    this.reason = details.reason ?? this.code
    this.claims = details.claims
  }
}

/** Not now: Entra or Graph asks for a pause, or the tenant's budget is used up. */
export class Throttled extends SyncError {
  /** Milliseconds from now, floored and capped by whoever read the header. */
  readonly retryAfterMs: number
  /** The turn that the budget has promised, to be shown when the time has come. */
  readonly slot: { at: number; generation: number } | undefined
  /** Who asks: Graph, for everybody of the tenant, or Entra's token endpoint, for whoever it was asked about. */
  readonly by: 'graph' | 'entra'

  constructor(
    retryAfterMs: number,
    message: string,
    details: ErrorDetails & { slot?: { at: number; generation: number }; by?: 'graph' | 'entra' } = {},
  ) {
    super('throttled', message, details)
    this.name = 'Throttled'
    this.retryAfterMs = retryAfterMs
    this.slot = details.slot
    this.by = details.by ?? 'graph'
  }
}

/** No usable answer this time: 5xx, a time-out, a closed socket, a body that isn't JSON. Retried. */
export class GraphUnavailable extends SyncError {
  constructor(message: string, details: ErrorDetails = {}) {
    super('graph_unavailable', message, details)
    this.name = 'GraphUnavailable'
  }
}

/** A login event that can't be stored, however often it is sent. */
export class InvalidLoginEvent extends SyncError {
  /** Names of fields, and what is wrong with each; never a value. */
  readonly problems: readonly { field: string; message: string }[]

  constructor(problems: readonly { field: string; message: string }[]) {
    const told = problems.map(({ field, message }) => `${field} ${message}`).join(', ')
    super('invalid_login_event', `a login event does not fit: ${told}`)
    this.name = 'InvalidLoginEvent'
    this.problems = problems
  }
}

export type ConfigProblem = {
  /** The setting's name as the user wrote it. */
  setting: string
  /** What is wrong and what to do. */
  message: string
}

/** Start-up can't go on. Carries every problem found, so that they are mended in one go. */
export class ConfigInvalid extends SyncError {
  readonly problems: readonly ConfigProblem[]

  constructor(problems: readonly ConfigProblem[]) {
    super('config_invalid', problems.map(({ setting, message }) => `${setting}: ${message}`).join('\n'))
    this.name = 'ConfigInvalid'
    this.problems = problems
  }
}

/** Any thrown value as one of ours; what isn't ours becomes `internal` and keeps the original as `cause`. */
export function toSyncError(thrown: unknown): SyncError {
  if (thrown instanceof SyncError) return thrown
  return new SyncError('internal', 'unexpected error', { cause: thrown })
}
