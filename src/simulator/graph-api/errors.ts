/** A refusal by the simulated Graph: callers decide on `status` and `code`, as with the real one. */
export class GraphRefusal extends Error {
  override readonly name = 'GraphRefusal'
  readonly status: number
  readonly code: string
  readonly headers: Readonly<Record<string, string>>
  /** What the body's inner error says beside date and ids. */
  readonly inner: Readonly<Record<string, string>>

  constructor(
    status: number,
    code: string,
    message: string,
    headers: Readonly<Record<string, string>> = {},
    inner: Readonly<Record<string, string>> = {},
  ) {
    super(message)
    this.status = status
    this.code = code
    this.headers = headers
    this.inner = inner
  }
}

/** 401; Graph says where to sign in (RFC 6750, section 3). */
export function invalidToken(message: string): GraphRefusal {
  const challenge =
    'Bearer realm="", authorization_uri="https://login.microsoftonline.com/common/oauth2/authorize", client_id="00000003-0000-0000-c000-000000000000"'
  return new GraphRefusal(401, 'InvalidAuthenticationToken', message, { 'www-authenticate': challenge })
}

/** 401 that asks for a new sign-in with these claims (Entra docs: claims-challenge, header format). */
export function insufficientClaims(claims: string): GraphRefusal {
  const challenge = `Bearer realm="", authorization_uri="https://login.microsoftonline.com/common/oauth2/authorize", error="insufficient_claims", claims="${Buffer.from(claims, 'utf8').toString('base64')}"`
  return new GraphRefusal(
    401,
    'InvalidAuthenticationToken',
    'Continuous access evaluation resulted in challenge with result: InteractionRequired and code: TokenIssuedBeforeRevocationTimestamp',
    { 'www-authenticate': challenge },
  )
}

export function accessDenied(): GraphRefusal {
  return new GraphRefusal(
    403,
    'Authorization_RequestDenied',
    'Insufficient privileges to complete the operation.',
  )
}

export function notFound(id: string): GraphRefusal {
  return new GraphRefusal(
    404,
    'Request_ResourceNotFound',
    `Resource '${id}' does not exist or one of its queried reference-property objects are not present.`,
  )
}

export function unsupportedQuery(message = 'Unsupported Query.'): GraphRefusal {
  return new GraphRefusal(400, 'Request_UnsupportedQuery', message)
}

export function badRequest(message: string, code = 'Request_BadRequest'): GraphRefusal {
  return new GraphRefusal(400, code, message)
}

/** The inner error of every 429 (Graph docs: throttling, sample response). */
export const throttledInner = { code: '429', message: 'Please retry after', status: '429' }

export function throttled(headers: Readonly<Record<string, string>>): GraphRefusal {
  return new GraphRefusal(429, 'TooManyRequests', 'Please retry again later.', headers, throttledInner)
}

/** What a page link answers when it is spoilt, or asked without the header its first page was asked with. */
export function expiredPageToken(): GraphRefusal {
  return new GraphRefusal(
    400,
    'Directory_ExpiredPageToken',
    'The specified page token value has expired and can no longer be included in your request.',
  )
}

/** A delta token that is too old; which of the two statuses Graph has for directory objects isn't documented. */
export function syncStateNotFound(status: 400 | 410): GraphRefusal {
  return new GraphRefusal(status, 'syncStateNotFound', 'The sync state is not found or has expired.')
}

/** 410 that leads to a synchronization from the start (Graph docs: delta-query-overview, synchronization reset). */
export function resyncRequired(location: string): GraphRefusal {
  return new GraphRefusal(410, 'resyncRequired', 'Resync required. Restart with a full synchronization.', {
    location,
  })
}

/** The error body of every Graph answer (Graph docs: errors). */
export function errorBody(
  refusal: { code: string; message: string; inner?: Readonly<Record<string, string>> },
  ids: { requestId: string; clientRequestId: string },
  at: Date,
): string {
  const innerError = {
    date: at.toISOString().slice(0, 19),
    'request-id': ids.requestId,
    'client-request-id': ids.clientRequestId,
    ...refusal.inner,
  }
  return JSON.stringify({ error: { code: refusal.code, message: refusal.message, innerError } })
}
