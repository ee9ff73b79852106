import type { HttpAnswer, HttpRequest } from '../http.ts'
import { errorCode, type AadstsCode } from './error-codes.ts'

/** As in Entra docs: v2-oauth2-on-behalf-of-flow, error response example. */
const sampleClaims =
  '{"access_token":{"polids":{"essential":true,"values":["9ab03e19-ed42-4168-b6b7-7001fb3e933a"]}}}'

/** A refusal by the simulated Entra, thrown by a step and answered by its endpoint. */
export class AadstsError extends Error {
  override readonly name = 'AadstsError'
  readonly code: AadstsCode
  readonly error: string
  readonly suberror: string | undefined
  readonly status: number
  readonly retryAfter: string | undefined
  /** What the next sign-in has to satisfy. */
  claims: string | undefined

  constructor(code: AadstsCode, ...details: readonly string[]) {
    const entry = errorCode(code)
    super(`AADSTS${code}: ${entry.text.replaceAll(/\{(\d)\}/g, (_, index) => details[Number(index)] ?? '')}`)
    this.code = code
    this.error = entry.error
    this.suberror = entry.suberror
    this.status = entry.status ?? 400
    this.retryAfter = entry.retryAfter
    this.claims = entry.claims === true ? sampleClaims : undefined
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
    retryAfter?: string | undefined
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
  const answer = jsonAnswer(refusal.status, body)
  if (refusal.retryAfter === undefined) return answer
  return { ...answer, headers: { ...answer.headers, 'retry-after': refusal.retryAfter } }
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
