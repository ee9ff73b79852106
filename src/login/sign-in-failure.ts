import { AuthorizationResponseError, ClientError, ResponseBodyError } from 'openid-client'
import { AccessDenied, SyncError, Throttled, TokenRejected, toSyncError } from '../errors.ts'
import { retryAfterMs } from '../retry-after.ts'
import { mergeClaims } from './claims.ts'
import { classifyEntraError, isKnownCode, type EntraErrorClass } from './entra-error.ts'
import { bodyOf, responseOf, tokenErrorBody } from './renew.ts'

/** What may be shown and logged of a sign-in that failed: no code, no state, no token, no free text of an answer. */
export type SignInFailure = {
  /** An OAuth `error`, a code of openid-client, or one of ours. */
  error: string
  /** Entra's number, for whoever looks it up. */
  aadsts: string | undefined
  correlationId: string | undefined
  /** Entra can't be reached or is unwell: trying again later helps. */
  temporary: boolean
  /** How much later, where it is temporary: what Entra has said, or half a minute. */
  retryAfterSeconds: number | undefined
  /** With another account it may go better. */
  otherAccount: boolean
  /** It says nothing against a session there is: Entra wants more than the person has given, or is unwell. */
  leavesSession: boolean
  advice: string
}

/** Milliseconds until another try, where Entra names none. */
const pauseMs = 30_000

const guid = /[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}/i
const temporaryErrors = new Set([
  'temporarily_unavailable',
  'server_error',
  'OAUTH_TIMEOUT',
  'OAUTH_PARSE_ERROR',
  'OAUTH_RESPONSE_IS_NOT_CONFORM',
  'OAUTH_RESPONSE_IS_NOT_JSON',
  'ERR_JWKS_TIMEOUT',
  'ERR_JWKS_INVALID',
  'ERR_JOSE_GENERIC',
  'unreachable',
  'graph_unavailable',
  'throttled',
])

/** Reads any error of the sign-in flow down to what is fit to be seen. */
export async function describeSignInFailure(thrown: unknown): Promise<SignInFailure> {
  const told = await read(thrown)
  const error = /^\w{1,64}$/.test(told.error) ? told.error : 'unknown_error'
  const temporary = isUnwell(told) ?? temporaryErrors.has(error)
  return {
    error,
    aadsts: told.aadsts,
    correlationId: told.correlationId,
    temporary,
    retryAfterSeconds: temporary ? Math.ceil((told.retryAfterMs ?? pauseMs) / 1000) : undefined,
    otherAccount: error === 'id_token_tenant' || otherAccountCodes.has(told.aadsts ?? ''),
    leavesSession: temporary || wantsMore(told),
    advice: temporary ? advice.temporary : adviceFor(error, told),
  }
}

/** By its status, or by a number that is known: an Entra that is unwell may name any error. Undefined where neither says. */
function isUnwell(told: Told): boolean | undefined {
  if (told.status !== undefined && (told.status === 429 || told.status >= 500)) return true
  const isKnown = told.aadsts !== undefined && isKnownCode(numberOf(told.aadsts))
  return told.byEntra && isKnown ? isPassing(classOf(told)) : undefined
}

const numberOf = (aadsts: string) => Number(aadsts.slice('AADSTS'.length))

/** A challenge, a policy, or a person who didn't go along with one; not what is wrong with the account or the app. */
function wantsMore(told: Told): boolean {
  if (!told.byEntra || otherAccountCodes.has(told.aadsts ?? '')) return false
  return ['claims_challenge', 'denied', 'consent'].includes(classOf(told))
}

const isPassing = (kind: EntraErrorClass) => kind === 'throttled' || kind === 'transient'

function classOf({ error, aadsts, suberror = '', status }: Told): EntraErrorClass {
  const codes = aadsts === undefined ? [] : [numberOf(aadsts)]
  return classifyEntraError({ status, error, suberror, codes })
}

/** What the token endpoint wants to be asked for before it answers: the claims of a challenge, as JSON. */
export function claimsWantedBy(thrown: unknown): string | undefined {
  if (!(thrown instanceof ResponseBodyError)) return undefined
  return mergeClaims(tokenErrorBody.safeParse(thrown.cause).data?.claims)
}

type Told = {
  error: string
  aadsts?: string | undefined
  correlationId?: string | undefined
  suberror?: string
  status?: number
  retryAfterMs?: number | undefined
  /** It is Entra that refuses, and not we. */
  byEntra?: true
}

async function read(thrown: unknown): Promise<Told> {
  if (thrown instanceof AuthorizationResponseError) {
    const { error, error_description: description = '' } = thrown
    return { error, ...readDescription(description), byEntra: true }
  }
  const response = responseOf(thrown)
  if (response !== undefined && !response.ok) return await readAnswer(thrown, response)
  const ours = syncErrorOf(thrown)
  if (ours === undefined) return { error: codeOf(thrown) }
  return {
    error: ours instanceof TokenRejected || ours instanceof AccessDenied ? ours.reason : ours.code,
    correlationId: guid.exec(ours.requestId ?? '')?.[0],
    retryAfterMs: ours instanceof Throttled ? ours.retryAfterMs : undefined,
  }
}

/** An answer that openid-client took for an error of OAuth, or left unread, as that of an Entra that is unwell. */
async function readAnswer(thrown: unknown, response: Response): Promise<Told> {
  const isRead = thrown instanceof ResponseBodyError
  const body = tokenErrorBody.safeParse(isRead ? thrown.cause : await bodyOf(response)).data
  const [code] = body?.error_codes ?? []
  const described = readDescription((isRead && thrown.error_description) || '')
  return {
    error: isRead ? thrown.error : body?.error || codeOf(thrown),
    aadsts: code === undefined ? described.aadsts : `AADSTS${code}`,
    correlationId: guid.exec(body?.correlation_id ?? '')?.[0] ?? described.correlationId,
    suberror: body?.suberror ?? '',
    status: response.status,
    retryAfterMs: retryAfterMs(response.headers.get('retry-after'), Date.now(), pauseMs),
    byEntra: true,
  }
}

/** openid-client wraps what is thrown while it asks. */
function syncErrorOf(thrown: unknown): SyncError | undefined {
  if (thrown instanceof SyncError) return thrown
  return thrown instanceof Error && thrown.cause !== thrown ? syncErrorOf(thrown.cause) : undefined
}

/** `fetch` reports every failed connection as a TypeError; openid-client passes it on as it is. */
function codeOf(thrown: unknown): string {
  if (thrown instanceof ClientError && thrown.code) return thrown.code
  if (thrown instanceof TypeError && thrown.cause !== undefined) return 'unreachable'
  const code = thrown instanceof Error && 'code' in thrown ? thrown.code : undefined
  return typeof code === 'string' ? code : toSyncError(thrown).code
}

/** At the authorize endpoint both stand in the text only: "AADSTS…: … Trace ID: … Correlation ID: … Timestamp: …". */
function readDescription(description: string): Pick<Told, 'aadsts' | 'correlationId'> {
  return {
    aadsts: /AADSTS\d{4,8}/.exec(description)?.[0],
    correlationId: guid.exec(/correlation id:.{0,40}/i.exec(description)?.[0] ?? '')?.[0],
  }
}

const advice = {
  temporary: 'Entra ID can’t be reached right now. Wait a minute, then sign in again.',
  declined:
    'Entra ID did not grant access: you declined, or you are not allowed to use this application. Sign in again and accept, or ask your administrator.',
  consent: 'This application still needs consent. Ask your administrator to grant it, then sign in again.',
  more: 'Entra ID needs something more from you, such as a second factor. Sign in again and follow its steps.',
  again: 'This sign-in was already used or took too long. Sign in again.',
  disabled: 'Your account is disabled in Entra ID. Ask your administrator.',
  unassigned: 'You are not assigned to this application in Entra ID. Ask your administrator to assign you.',
  blocked:
    'A policy of your organisation does not let you in from here, or with this device. Ask your administrator, with the codes below.',
  denied: 'Entra ID does not let you in. Ask your administrator, with the codes below.',
  registration:
    'The registration of this application in Entra ID needs attention. Tell your administrator; signing in again will not help.',
  tenant: 'Your organisation is not one that may use this application. Sign in with another account.',
  unacceptable:
    'Entra ID’s answer could not be accepted. Sign in again; if it keeps failing, tell your administrator.',
} as const

const adviceByClass: Record<EntraErrorClass, string> = {
  sign_in_again: advice.again,
  claims_challenge: advice.more,
  consent: advice.consent,
  denied: advice.denied,
  configuration: advice.registration,
  credential: advice.registration,
  bug: advice.registration,
  throttled: advice.unacceptable,
  transient: advice.unacceptable,
}

/** Where the number says more than the class; used for what a person reads and for nothing else. */
const adviceByCode: Record<string, string> = {
  AADSTS50057: advice.disabled,
  AADSTS50105: advice.unassigned,
  AADSTS53003: advice.blocked,
  AADSTS53000: advice.blocked,
  AADSTS65004: advice.declined,
  AADSTS50020: advice.tenant,
  AADSTS90072: advice.tenant,
}

/** Disabled, of another directory, not assigned: an account and not a person. */
const otherAccountCodes = new Set(['AADSTS50057', 'AADSTS50034', 'AADSTS50020', 'AADSTS90072', 'AADSTS50105'])

/** What to do about it, for the person in front of the page. */
function adviceFor(error: string, told: Told): string {
  const { aadsts, byEntra } = told
  if (error === 'id_token_tenant') return advice.tenant
  if (!byEntra) return error === 'config_invalid' ? advice.registration : advice.unacceptable
  const known = aadsts === undefined ? undefined : adviceByCode[aadsts]
  if (known !== undefined) return known
  // Without a number it may mean any of these.
  if (error === 'access_denied' && aadsts === undefined) return advice.declined
  return adviceByClass[classOf(told)]
}
