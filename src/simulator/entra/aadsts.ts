import type { HttpAnswer, HttpRequest } from '../http.ts'

type Entry = { error: string; text: string; suberror?: string; status?: number }

/** What Entra says for each AADSTS code (Entra docs: reference-error-codes); `{0}`, `{1}` are details. */
const catalogue = {
  28002: { error: 'invalid_scope', text: "The scopes '{0}' belong to more than one resource." },
  50011: {
    error: 'invalid_request',
    text: "The redirect URI '{0}' specified in the request does not match the redirect URIs configured for the application '{1}'.",
  },
  50034: { error: 'invalid_grant', text: 'The user account {0} does not exist in the {1} directory.' },
  50057: { error: 'invalid_grant', text: 'The user account is disabled.' },
  50058: { error: 'login_required', text: 'A silent sign-in request was sent but no user is signed in.' },
  50076: {
    error: 'interaction_required',
    suberror: 'basic_action',
    text: "Due to a configuration change made by your administrator, or because you moved to a new location, you must use multi-factor authentication to access '{0}'.",
  },
  50173: {
    error: 'invalid_grant',
    suberror: 'bad_token',
    text: 'The provided grant has expired due to it being revoked, a fresh auth token is needed. The user might have changed or reset their password.',
  },
  54005: { error: 'invalid_grant', text: 'OAuth2 Authorization code was already redeemed.' },
  65001: {
    error: 'invalid_grant',
    suberror: 'consent_required',
    text: "The user or administrator has not consented to use the application with ID '{0}'.",
  },
  70000: { error: 'invalid_grant', text: 'Provided grant is invalid or malformed.' },
  70003: { error: 'unsupported_grant_type', text: "The app requested an unsupported grant type '{0}'." },
  70008: {
    error: 'invalid_grant',
    text: 'The provided authorization code or refresh token has expired due to inactivity.',
  },
  70011: {
    error: 'invalid_scope',
    text: "The provided value for the input parameter 'scope' isn't valid. The scope {0} isn't valid.",
  },
  90002: {
    error: 'invalid_tenant',
    text: "Tenant '{0}' not found. Check to make sure you have the correct tenant ID.",
  },
  90014: { error: 'invalid_request', text: "The required field '{0}' is missing from the credential." },
  90094: { error: 'access_denied', text: 'An administrator of {0} has to consent to the scopes {1}.' },
  501481: {
    error: 'invalid_grant',
    text: 'The Code_Verifier does not match the code_challenge supplied in the authorization request.',
  },
  700016: {
    error: 'unauthorized_client',
    text: "Application with identifier '{0}' was not found in the directory '{1}'.",
  },
  700054: {
    error: 'unsupported_response_type',
    text: "response_type '{0}' is not enabled for the application.",
  },
  700082: { error: 'invalid_grant', text: 'The refresh token has expired due to inactivity.' },
  900144: { error: 'invalid_request', text: "The request body must contain the following parameter: '{0}'." },
  1002012: {
    error: 'invalid_scope',
    text: 'The provided value for scope {0} is not valid. Client credential flows must have a scope value with /.default suffixed to the resource identifier (application ID URI).',
  },
  7000215: { error: 'invalid_client', status: 401, text: "Invalid client secret provided for app '{0}'." },
  7000218: {
    error: 'invalid_client',
    status: 401,
    text: "The request body must contain the following parameter: 'client_assertion' or 'client_secret'.",
  },
} as const satisfies Record<number, Entry>

export type AadstsCode = keyof typeof catalogue

/** A refusal by the simulated Entra, thrown by a step and answered by its endpoint. */
export class AadstsError extends Error {
  override readonly name = 'AadstsError'
  readonly code: AadstsCode
  readonly error: string
  readonly suberror: string | undefined
  readonly status: number

  constructor(code: AadstsCode, ...details: readonly string[]) {
    const entry: Entry = catalogue[code]
    super(`AADSTS${code}: ${entry.text.replaceAll(/\{(\d)\}/g, (_, index) => details[Number(index)] ?? '')}`)
    this.code = code
    this.error = entry.error
    this.suberror = entry.suberror
    this.status = entry.status ?? 400
  }
}

/** The description as Entra prints it, with the ids support asks for. */
export function describe(message: string, ids: { trace: string; correlation: string }, at: Date): string {
  const lines = [message, `Trace ID: ${ids.trace}`, `Correlation ID: ${ids.correlation}`]
  return [...lines, `Timestamp: ${timestampOf(at)}`].join('\r\n')
}

/** The error body of the token endpoint (Entra docs: v2-oauth2-auth-code-flow, error response). */
export function tokenErrorAnswer(
  request: HttpRequest,
  at: Date,
  refusal: {
    error: string
    codes: readonly number[]
    message: string
    suberror?: string | undefined
    claims?: string | undefined
    status: number
  },
): HttpAnswer {
  const ids = {
    trace: crypto.randomUUID(),
    correlation: request.headers['client-request-id'] ?? crypto.randomUUID(),
  }
  const body = {
    error: refusal.error,
    error_description: describe(refusal.message, ids, at),
    error_codes: refusal.codes,
    timestamp: timestampOf(at),
    trace_id: ids.trace,
    correlation_id: ids.correlation,
    error_uri: `${request.baseUrl}/error?code=${refusal.codes[0] ?? ''}`,
    ...(refusal.suberror === undefined ? {} : { suberror: refusal.suberror }),
    ...(refusal.claims === undefined ? {} : { claims: refusal.claims }),
  }
  return jsonAnswer(refusal.status, body)
}

/** JSON that no cache may keep, as all token answers are. */
export function jsonAnswer(status: number, body: object): HttpAnswer {
  const headers = {
    'content-type': 'application/json; charset=utf-8',
    'cache-control': 'no-store, no-cache',
    pragma: 'no-cache',
    'x-ms-request-id': crypto.randomUUID(),
  }
  return { status, headers, body: JSON.stringify(body) }
}

function timestampOf(at: Date): string {
  return `${at.toISOString().slice(0, 19).replace('T', ' ')}Z`
}
