import type { AuthorityValidationOptions, TokenCredential, TokenCredentialOptions } from '@azure/identity'
import { z } from 'zod'
import { GraphUnavailable, SyncError } from '../errors.ts'
import type { SourceConfig } from '../source-config.ts'
import type { ClientProof } from './client-assertion.ts'
import type { AppCredentials } from './credentials.ts'
import { entraFailure } from './entra-error.ts'
import { tokenFailure } from './renew.ts'

/** What every credential is made with; the first isn't in the type of each, but is what each reads. */
export type IdentityOptions = AuthorityValidationOptions & TokenCredentialOptions

type PipelinePolicy = NonNullable<TokenCredentialOptions['additionalPolicies']>[number]['policy']

/** Which token is asked for, and by which credential. */
export type IdentityRequest = {
  tenantId: string
  /** What needs it, for whoever has configured an authority that it can't be got from. */
  neededFor: string
  credentialFor: (
    identity: typeof import('@azure/identity'),
    proof: ClientProof,
    options: IdentityOptions,
  ) => TokenCredential
  /** How the token is asked for besides its scope. */
  ask?: Parameters<TokenCredential['getToken']>[1]
}

export type IdentityToken = {
  accessToken: string
  /** Milliseconds since 1970 by this process's clock. */
  expiresAt: number
}

/** Milliseconds for one request. */
const timeoutMs = 15_000

/** The last answer of Entra to a credential, as far as it decides. */
type Answered = { status: number; retryAfter: string | null; body: string }

/** What a credential has met: an answer, or that it wasn't let. */
type Met = { answer?: Answered | undefined; refusal?: SyncError }

/**
 * A Graph token of all that was agreed to, by `@azure/identity`, which is loaded at the first use, and by the first of the
 * app's credentials that Entra takes. It wraps errors until neither code nor `Retry-After` are left, so a policy of ours in
 * its pipeline keeps the answer.
 * @throws {SyncError} see {@link entraFailure}; `config_invalid` for an authority without https.
 */
export async function identityToken(
  source: Pick<SourceConfig, 'authorityHost' | 'graphBaseUrl'>,
  { withCredential }: Pick<AppCredentials, 'withCredential'>,
  { tenantId, neededFor, credentialFor, ask }: IdentityRequest,
): Promise<IdentityToken> {
  if (!source.authorityHost.startsWith('https:')) {
    const told = `must be https for ${neededFor}: @azure/identity speaks nothing else`
    throw new SyncError('config_invalid', `ENTRA_AUTHORITY_HOST ${told}`)
  }
  const identity = await import('@azure/identity')
  return await withCredential(async (prove) => {
    const proof = await prove(`${source.authorityHost}/${tenantId}/oauth2/v2.0/token`)
    const last: Met = {}
    const credential = credentialFor(identity, proof, {
      authorityHost: source.authorityHost,
      // Else it asks login.microsoftonline.com about any other host.
      disableInstanceDiscovery: true,
      // Retrying is the queue's.
      retryOptions: { maxRetries: 0 },
      additionalPolicies: [
        { position: 'perCall', policy: keepAnswer(last, new URL(source.authorityHost).origin) },
      ],
    })
    const scope = `${source.graphBaseUrl}/.default`
    const token = await credential.getToken(scope, ask).catch((error: unknown) => {
      throw last.refusal ?? (last.answer ? answerFailure(last.answer) : identityFailure(error))
    })
    if (token === null) throw new GraphUnavailable("Entra's token endpoint gave no token")
    return { accessToken: token.token, expiresAt: token.expiresOnTimestamp }
  })
}

/** Keeps the assertion and the secret with the authority, whatever its metadata says, and the answer within bounds. */
function keepAnswer(last: Met, origin: string): PipelinePolicy {
  return {
    name: 'keepAnswer',
    sendRequest: async (request, next) => {
      last.answer = undefined
      if (new URL(request.url).origin !== origin) {
        last.refusal = new SyncError('unexpected_response', `Entra's endpoints are not all at ${origin}`)
        throw last.refusal
      }
      request.timeout = timeoutMs
      // Every status: else the whole body is read before it gets here.
      request.streamResponseStatusCodes = new Set([Number.POSITIVE_INFINITY])
      const response = await next(request)
      const { status, headers, readableStreamBody } = response
      const body = readableStreamBody ? await readText(readableStreamBody) : (response.bodyAsText ?? '')
      last.answer = { status, retryAfter: headers.get('retry-after') ?? null, body }
      return { ...response, bodyAsText: body }
    },
  }
}

/** Bytes; an answer with tokens has a few thousand. */
const maxBytes = 1 << 20

async function readText(stream: NodeJS.ReadableStream): Promise<string> {
  const chunks: Buffer[] = []
  let bytes = 0
  for await (const chunk of stream) {
    const part = Buffer.from(chunk)
    bytes += part.length
    if (bytes > maxBytes) throw new GraphUnavailable(`Entra's answer is larger than ${maxBytes} bytes`)
    chunks.push(part)
  }
  return Buffer.concat(chunks).toString('utf8')
}

function answerFailure({ status, retryAfter, body }: Answered): SyncError {
  try {
    return tokenFailure(status, retryAfter, JSON.parse(body))
  } catch {
    return tokenFailure(status, retryAfter, {})
  }
}

/** What MSAL hangs on its errors. */
const msalError = z.object({
  errorCode: z.string().min(1),
  errorNo: z.coerce.number().optional().catch(undefined),
  subError: z.string().catch(''),
  status: z.number().optional().catch(undefined),
  claims: z.string().optional().catch(undefined),
  correlationId: z.string().optional().catch(undefined),
})

/** Codes of MSAL's own for an Entra it can't reach or understand; all others come from Entra. */
const ownCodes = new Set(['network_error', 'no_network_connectivity', 'endpoints_resolution_error'])

/** An error of `@azure/identity` as one of ours, decided on what MSAL says in it or in one of its causes. */
export function identityFailure(thrown: unknown): SyncError {
  for (let error = thrown; error instanceof Error && error !== error.cause; error = error.cause) {
    const told = msalError.safeParse(error).data
    if (!told || ownCodes.has(told.errorCode)) continue
    const { errorCode, errorNo, subError, status, claims, correlationId } = told
    const codes = errorNo === undefined ? [] : [errorNo]
    return entraFailure(
      { status, error: errorCode, suberror: subError, codes },
      { claims, requestId: correlationId },
    )
  }
  // Without the cause: a message of MSAL's may hold Entra's text.
  return new GraphUnavailable("Entra's token endpoint gave no usable answer")
}
