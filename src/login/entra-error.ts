import {
  AccessDenied,
  GraphUnavailable,
  SyncError,
  Throttled,
  TokenRejected,
  type ErrorCode,
  type ErrorDetails,
} from '../errors.ts'
import { retryAfterMs } from '../retry-after.ts'
import { mergeClaims } from './claims.ts'

/** What a refusal by Entra's token endpoint means for whoever asked. */
export type EntraErrorClass =
  /** The grant is spent or revoked. */
  | 'sign_in_again'
  /** A policy wants more of the person: a second factor, say. */
  | 'claims_challenge'
  /** The person, or an administrator, has not agreed to a permission. */
  | 'consent'
  /** The account, or a policy: signing in again leads to the same. */
  | 'denied'
  /** The app's own secret, certificate or federated token: another one may be taken. */
  | 'credential'
  /** The app registration or the tenant: everybody gets this until an operator mends it. */
  | 'configuration'
  /** Our request was wrong. */
  | 'bug'
  | 'throttled'
  /** Entra is unwell. */
  | 'transient'

/** The parts of an answer that decide; its description is none. */
export type EntraError = {
  status: number | undefined
  /** OAuth's `error`; empty where the answer had none. */
  error: string
  suberror: string
  codes: readonly number[]
}

/** Entra docs: reference-error-codes. */
const classesByCode = classesOf(
  ['sign_in_again', [50173, 700082, 70008, 700084, 70043, 50013, 500133]],
  ['claims_challenge', [50076, 50079, 50074, 50078]],
  ['consent', [65001, 65004, 90094]],
  ['denied', [53003, 53000, 50057, 50034, 50105]],
  // Not 50013 and 50027: on behalf of somebody they are about that person's token. Not 70002, which also stands before a
  // number about the grant. What is missing here is tried with the next credential, but never told of where none is taken.
  ['credential', [7000215, 7000222, 7000218, 50012]],
  ['credential', [50048, 5002723, 700021, 700024, 700026, 700027, 700030, 7000213]],
  ['credential', [70021, 70025, 700211, 700212, 700213, 700229]],
  // 7000229 comes with invalid_client, and is about one tenant: the app has no service principal there.
  ['configuration', [700016, 7000112, 7000229, 90002, 50020, 90072]],
  ['bug', [70011, 28002, 700022, 54005, 501481]],
  ['throttled', [90055, 50196]],
  ['transient', [90033, 90006, 90024, 50033]],
)

/** Whether somebody has described what that number means. */
export const isKnownCode = (code: number): boolean => classesByCode.has(code)

/** Whether a refusal's reason, as {@link entraFailure} names it, is that somebody has not agreed to a permission. */
export function isAboutConsent(reason: string): boolean {
  const [, code] = /^AADSTS(\d+)$/.exec(reason) ?? []
  return (code === undefined ? classesByError.get(reason) : classesByCode.get(Number(code))) === 'consent'
}

/** Those that MSAL acts on as well. */
const classesBySuberror = classesOf(
  [
    'sign_in_again',
    ['bad_token', 'token_expired', 'user_password_expired', 'ui_not_allowed', 'interrupted_user'],
  ],
  ['claims_challenge', ['basic_action', 'additional_action']],
  ['consent', ['consent_required']],
  ['denied', ['message_only']],
)

/** RFC 6749, 5.2; OpenID Connect Core, 3.1.2.6. */
const classesByError = classesOf(
  ['sign_in_again', ['invalid_grant', 'login_required', 'account_selection_required']],
  ['claims_challenge', ['interaction_required']],
  ['consent', ['consent_required', 'access_denied']],
  ['credential', ['invalid_client']],
  ['configuration', ['unauthorized_client', 'invalid_tenant']],
  [
    'bug',
    [
      'invalid_request',
      'invalid_scope',
      'invalid_resource',
      'unsupported_grant_type',
      'unsupported_response_type',
    ],
  ],
  ['transient', ['temporarily_unavailable', 'server_error']],
)

/**
 * Decides on status, code, suberror and error, in this order, since each says more than the next. What nobody has described
 * is taken to pass: it is tried again a few times, and nothing is removed meanwhile.
 */
export function classifyEntraError({ status, error, suberror, codes }: EntraError): EntraErrorClass {
  if (status === 429) return 'throttled'
  const known = classesByCode.get(decidingCode(codes) ?? 0)
  // An Entra that is unwell says other things than it means.
  if (known === undefined && status !== undefined && status >= 500) return 'transient'
  return known ?? classesBySuberror.get(suberror) ?? classesByError.get(error) ?? 'transient'
}

/** The first number that somebody has described, else the first: Entra may put a general one before it. */
function decidingCode(codes: readonly number[]): number | undefined {
  return codes.find((code) => classesByCode.has(code)) ?? codes[0]
}

/**
 * Entra didn't take the app's own credential, so that another one may do. It says so before it looks at what the request is
 * about.
 */
export class CredentialRefused extends SyncError {
  /** Why: a code such as `AADSTS7000222`, an OAuth `error`, or ours. */
  readonly reason: string
  /**
   * False where the number is none of those that are about credentials: a tenant may have a reason of its own, with
   * `invalid_client` beside it.
   */
  readonly isSure: boolean

  constructor(reason: string, message: string, details: ErrorDetails & { isSure?: boolean } = {}) {
    super('config_invalid', message, details)
    this.name = 'CredentialRefused'
    this.reason = reason
    this.isSure = details.isSure ?? true
  }
}

/** Milliseconds, where a pause is asked for and none is named. */
const pauseMs = 30_000

export type EntraErrorDetails = {
  /** `Retry-After` as it came. */
  retryAfter?: string | null
  claims?: string | undefined
  requestId?: string | undefined
  cause?: unknown
}

/** A refusal as one of our errors: `needs_login`, `denied`, a pause, another try, or a matter for an operator. */
export function entraFailure(
  error: EntraError,
  { retryAfter = null, claims: asked, ...details }: EntraErrorDetails = {},
): SyncError {
  const code = decidingCode(error.codes)
  const name = /^\w{1,64}$/.test(error.error) ? error.error : 'an unknown error'
  const said = `Entra answered ${[error.status, name, code && `AADSTS${code}`].filter(Boolean).join(' ')}`
  const reason = code === undefined ? name : `AADSTS${code}`
  const claims = mergeClaims(asked)
  const refused = (told: string) => new TokenRejected(reason, told, { ...details, claims })
  const failed = (as: ErrorCode, what: string) => new SyncError(as, `${said}: ${what}`, details)
  const pause = () =>
    new Throttled(retryAfter === null ? pauseMs : retryAfterMs(retryAfter), said, { ...details, by: 'entra' })
  const failures: Record<EntraErrorClass, () => SyncError> = {
    sign_in_again: () => refused(said),
    claims_challenge: () => refused(`${said}: a policy wants more of the person`),
    consent: () => refused(`${said}: consent is missing`),
    denied: () => {
      const who = 'the account is disabled, gone, not assigned to the app, or kept out by a policy'
      return new AccessDenied(`${said}: ${who}`, { ...details, code: 'sign_in_denied', reason, claims })
    },
    credential: () =>
      new CredentialRefused(reason, `${said}: check the credentials of the app registration`, {
        ...details,
        isSure: code === undefined || classesByCode.get(code) === 'credential',
      }),
    configuration: () => failed('config_invalid', 'check the app registration'),
    bug: () => failed('unexpected_response', 'the request was not as Entra wants it'),
    throttled: pause,
    transient: () =>
      error.status === 503 && retryAfter !== null ? pause() : new GraphUnavailable(said, details),
  }
  return failures[classifyEntraError(error)]()
}

function classesOf<Key>(...lists: (readonly [EntraErrorClass, readonly Key[]])[]): Map<Key, EntraErrorClass> {
  return new Map(lists.flatMap(([name, keys]) => keys.map((key) => [key, name] as const)))
}
