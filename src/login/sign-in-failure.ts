import { AuthorizationResponseError, ClientError, ResponseBodyError } from 'openid-client'
import { toSyncError } from '../errors.ts'

/** What may be shown and logged of a sign-in that failed: no code, no state, no token, no free text of an answer. */
export type SignInFailure = {
  /** An OAuth `error`, a code of openid-client, or one of ours. */
  error: string
  /** Entra's number, for whoever looks it up; decisions are made on `error`, as Entra's documentation asks. */
  aadsts: string | undefined
  correlationId: string | undefined
  /** Entra can't be reached or is unwell: trying again later helps. */
  temporary: boolean
}

const guid = /[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}/i
const temporaryErrors = new Set([
  'temporarily_unavailable',
  'server_error',
  'OAUTH_TIMEOUT',
  'OAUTH_RESPONSE_IS_NOT_CONFORM',
  'OAUTH_RESPONSE_IS_NOT_JSON',
  'unreachable',
])

/** Reads any error of the sign-in flow down to what is fit to be seen. */
export function describeSignInFailure(thrown: unknown): SignInFailure {
  const { error, description, correlationId } = read(thrown)
  return {
    error: /^\w{1,64}$/.test(error) ? error : 'unknown_error',
    aadsts: /AADSTS\d{4,8}/.exec(description)?.[0],
    correlationId: guid.exec(correlationId)?.[0] ?? correlationIdIn(description),
    temporary: temporaryErrors.has(error),
  }
}

function read(thrown: unknown): { error: string; description: string; correlationId: string } {
  if (thrown instanceof AuthorizationResponseError) {
    return { error: thrown.error, description: thrown.error_description ?? '', correlationId: '' }
  }
  if (thrown instanceof ResponseBodyError) {
    const id = 'correlation_id' in thrown.cause ? thrown.cause['correlation_id'] : ''
    return {
      error: thrown.error,
      description: thrown.error_description ?? '',
      correlationId: typeof id === 'string' ? id : '',
    }
  }
  const error = thrown instanceof ClientError && thrown.code ? thrown.code : internalCode(thrown)
  return { error, description: '', correlationId: '' }
}

/** `fetch` reports every failed connection as a TypeError; openid-client passes it on as it is. */
function internalCode(thrown: unknown): string {
  return thrown instanceof TypeError && thrown.cause !== undefined ? 'unreachable' : toSyncError(thrown).code
}

/** At the authorize endpoint the id stands in the text only: "Trace ID: … Correlation ID: … Timestamp: …". */
function correlationIdIn(description: string): string | undefined {
  return guid.exec(/correlation id:.{0,40}/i.exec(description)?.[0] ?? '')?.[0]
}

/** What to do about it, for the person in front of the page. */
export function adviceFor({ error, temporary }: SignInFailure): string {
  if (temporary) return 'Entra ID can’t be reached right now. Wait a minute, then sign in again.'
  switch (error) {
    case 'access_denied':
      return 'Entra ID did not grant access: you declined, or you are not allowed to use this application. Sign in again and accept, or ask your administrator.'
    case 'consent_required':
      return 'This application still needs consent. Ask your administrator to grant it, then sign in again.'
    case 'interaction_required':
    case 'login_required':
      return 'Entra ID needs something more from you, such as a second factor. Sign in again and follow its steps.'
    case 'invalid_client':
    case 'unauthorized_client':
    case 'invalid_scope':
    case 'invalid_resource':
      return 'The registration of this application in Entra ID needs attention. Tell your administrator; signing in again will not help.'
    case 'invalid_grant':
      return 'This sign-in was already used or took too long. Sign in again.'
    default:
      return 'Entra ID’s answer could not be accepted. Sign in again; if it keeps failing, tell your administrator.'
  }
}
