import type { HttpAnswer, Origin } from './http.ts'
import type { AadstsCode } from './entra/error-codes.ts'
import { AadstsError } from './entra/aadsts.ts'
import type { IdTokenFault } from './id-token-faults.ts'
import { throttledInner } from './graph-api/errors.ts'
import { pathMatches } from './request-log.ts'

/** How an answer misbehaves on its way out, after it was made; of several ways the first that is listed. */
export type Delivery = {
  delayMs?: number
  /** Keeps the connection and says nothing, at all or after half of the body. */
  hang?: boolean | 'mid-body'
  cut?: 'before-headers' | 'mid-body'
  drip?: { bytes: number; everyMs: number }
  /** Half of the body, then blanks, which JSON allows, as fast as they are read and until the client leaves. */
  endless?: boolean
}

/** Which answers a fault applies to; what is left out matches everything. */
export type FaultTarget = {
  origin?: Origin
  method?: string
  path?: RegExp | string
  /** The page of a paged collection, counted from 1; answers that aren't such pages never match. */
  page?: number
  /** Object id or user principal name of the user whose token it is, or who is named in the path. */
  user?: string
}

/**
 * What goes wrong. With `status` the answer is made up and nothing is carried out; without it the true answer is
 * made, then changed. `times` defaults to 1. Inner requests of a batch honour all but how an answer is delivered.
 */
export type Fault = Delivery & {
  on?: FaultTarget
  times?: number
  status?: number
  headers?: Readonly<Record<string, string>>
  body?: string | object
  /** Changes the parsed JSON body, for answers that are well-formed and wrong; `url` is what was asked for. */
  rewrite?: (body: unknown, asked: { url: string }) => unknown
  /** Leaves half of the body, with a length that agrees. */
  truncate?: boolean
}

/** An error of the token endpoint; `claims` makes it a claims challenge. */
export type TokenError = {
  error: string
  error_codes: readonly number[]
  error_description?: string
  suberror?: string
  claims?: string
  status?: number
  /** The header; Entra throttles with status 429. */
  retryAfter?: string
}

/** Which token requests fail, default the next one; `user` is whose code, refresh token or assertion it is. */
export type TokenErrorTarget = { times?: number; user?: string }

export type FaultHandle = {
  /** How many more answers it will spoil. */
  remaining(): number
  clear(): void
}

export type Faults = {
  /** Spoils the next answers that match. Of several matching faults the one registered first is used. */
  next(fault: Fault): FaultHandle
  /**
   * Makes the next token requests fail before anything is checked or redeemed. The number of an AADSTS code answers all
   * that Entra answers with it: status, `error`, `suberror`, and claims or Retry-After where it has them.
   */
  tokenError(error: TokenError | AadstsCode, target?: number | TokenErrorTarget): FaultHandle
  /** Spoils the ID token of the next answers that would have one; `user` is whose it is. */
  idToken(fault: IdTokenFault, target?: number | TokenErrorTarget): FaultHandle
  clear(): void
}

/** What a fault is matched against. */
export type FaultSubject = {
  origin: Origin
  method: string
  path: string
  page: number | undefined
  users: readonly string[]
}

export type FaultSource = Faults & {
  /** The fault for this answer, used up by one; `describe` is only called while any fault waits. */
  take(describe: () => FaultSubject): Fault | undefined
  takeTokenError(describe: () => readonly string[]): TokenError | undefined
  takeIdToken(users: readonly string[]): IdTokenFault | undefined
}

type Waiting<T> = { what: T; left: number }

/** Starts with no faults. */
export function createFaults(): FaultSource {
  const answers: Waiting<Fault>[] = []
  const tokenErrors: Waiting<{ error: TokenError; user: string | undefined }>[] = []
  const idTokens: Waiting<{ fault: IdTokenFault; user: string | undefined }>[] = []
  return {
    next: (fault) => enlist(answers, fault, fault.times ?? 1),
    tokenError(given, target = {}) {
      const { times = 1, user } = typeof target === 'number' ? { times: target } : target
      const error = typeof given === 'number' ? tokenErrorOf(given) : given
      return enlist(tokenErrors, { error, user: user?.toLowerCase() }, times)
    },
    idToken(fault, target = {}) {
      const { times = 1, user } = typeof target === 'number' ? { times: target } : target
      return enlist(idTokens, { fault, user: user?.toLowerCase() }, times)
    },
    clear() {
      for (const list of [answers, tokenErrors, idTokens])
        for (const waiting of list.splice(0)) waiting.left = 0
    },
    take(describe) {
      if (answers.length === 0) return undefined
      const subject = describe()
      return use(answers, (fault) => matches(fault.on ?? {}, subject))
    },
    takeIdToken: (users) => use(idTokens, ({ user }) => user === undefined || users.includes(user))?.fault,
    takeTokenError(describe) {
      if (tokenErrors.length === 0) return undefined
      const users = describe()
      return use(tokenErrors, ({ user }) => user === undefined || users.includes(user))?.error
    },
  }
}

/** The made-up answer of a fault with a status, or the true answer changed as the fault says. */
export async function faulty(
  fault: Fault,
  asked: { url: string },
  make: () => Promise<HttpAnswer>,
): Promise<HttpAnswer> {
  const answer = fault.status === undefined ? await make() : madeUp(fault.status)
  const body = wrongBody(fault, asked, answer.body)
  return {
    status: fault.status ?? answer.status,
    headers: { ...answer.headers, ...fault.headers },
    body: fault.truncate === true ? body.slice(0, Math.floor(body.length / 2)) : body,
  }
}

function wrongBody({ body, rewrite }: Fault, asked: { url: string }, truth: string): string {
  if (body !== undefined) return typeof body === 'string' ? body : JSON.stringify(body)
  return rewrite && truth !== '' ? JSON.stringify(rewrite(JSON.parse(truth), asked)) : truth
}

function tokenErrorOf(code: AadstsCode): TokenError {
  const { error, suberror, claims, status, retryAfter, message } = new AadstsError(code)
  return {
    error,
    error_codes: [code],
    error_description: message,
    status,
    ...(suberror === undefined ? {} : { suberror }),
    ...(claims === undefined ? {} : { claims }),
    ...(retryAfter === undefined ? {} : { retryAfter }),
  }
}

const codes: Readonly<Record<number, readonly [code: string, message: string]>> = {
  401: ['InvalidAuthenticationToken', 'Access token has expired or is not yet valid.'],
  403: ['Authorization_RequestDenied', 'Insufficient privileges to complete the operation.'],
  404: ['Request_ResourceNotFound', 'Resource does not exist.'],
  429: ['TooManyRequests', 'Please retry again later.'],
  500: ['InternalServerError', 'An internal server error occurred.'],
  502: ['BadGateway', 'The gateway received an invalid response.'],
  503: ['ServiceUnavailable', 'Service unavailable. Please wait and try again.'],
  504: ['GatewayTimeout', 'The gateway timed out.'],
}

function madeUp(status: number): HttpAnswer {
  const [code, message] = codes[status] ?? ['UnknownError', `Status ${status}.`]
  const id = crypto.randomUUID()
  const innerError = {
    date: new Date().toISOString().slice(0, 19),
    'request-id': id,
    'client-request-id': id,
    ...(status === 429 ? throttledInner : {}),
  }
  const body = status < 400 ? '' : JSON.stringify({ error: { code, message, innerError } })
  return { status, headers: { 'content-type': 'application/json' }, body }
}

function enlist<T>(list: Waiting<T>[], what: T, times: number): FaultHandle {
  const waiting = { what, left: times }
  list.push(waiting)
  return {
    remaining: () => waiting.left,
    clear() {
      waiting.left = 0
      const index = list.indexOf(waiting)
      if (index >= 0) list.splice(index, 1)
    },
  }
}

function use<T>(list: Waiting<T>[], wanted: (what: T) => boolean): T | undefined {
  const waiting = list.find((each) => each.left > 0 && wanted(each.what))
  if (!waiting) return undefined
  waiting.left -= 1
  if (waiting.left <= 0) list.splice(list.indexOf(waiting), 1)
  return waiting.what
}

function matches(on: FaultTarget, subject: FaultSubject): boolean {
  return (
    (on.origin === undefined || on.origin === subject.origin) &&
    (on.method === undefined || on.method === subject.method) &&
    (on.path === undefined || pathMatches(on.path, subject.path)) &&
    (on.page === undefined || on.page === subject.page) &&
    (on.user === undefined || subject.users.includes(on.user.toLowerCase()))
  )
}
