import type {
  AuthorityValidationOptions,
  OnBehalfOfCredentialSecretOptions,
  TokenCredentialOptions,
} from '@azure/identity'
import { z } from 'zod'
import type { SourceConfig } from '../source-config.ts'
import { GraphUnavailable, SyncError } from '../errors.ts'
import type { AppCredentials } from './credentials.ts'
import { entraFailure } from './entra-error.ts'
import type { Exchange } from './exchanged-tokens.ts'
import { tokenFailure } from './renew.ts'

/** The first isn't in the credential's own type, but is what it reads. */
type CredentialOptions = AuthorityValidationOptions &
  TokenCredentialOptions &
  Omit<OnBehalfOfCredentialSecretOptions, 'clientSecret'>
type PipelinePolicy = NonNullable<TokenCredentialOptions['additionalPolicies']>[number]['policy']

/** Milliseconds for one request. */
const timeoutMs = 15_000

/** The last answer of Entra to a credential, as far as it decides. */
type Answered = { status: number; retryAfter: string | null; body: string }

/** What a credential has met: an answer, or that it wasn't let. */
type Met = { answer?: Answered | undefined; refusal?: SyncError }

/**
 * The on-behalf-of exchange (Entra docs: v2-oauth2-on-behalf-of-flow), by `@azure/identity`, which is loaded at the first
 * use. It wraps errors until neither code nor `Retry-After` are left, so a policy of ours in its pipeline keeps the answer.
 */
export function createExchange(
  source: Pick<SourceConfig, 'authorityHost' | 'clientId' | 'graphBaseUrl'>,
  { withCredential }: Pick<AppCredentials, 'withCredential'>,
): Exchange {
  return async (assertion, { tenantId, claims }) => {
    if (!source.authorityHost.startsWith('https:')) {
      const told = 'must be https for tokens of audience "api": @azure/identity speaks nothing else'
      throw new SyncError('config_invalid', `ENTRA_AUTHORITY_HOST ${told}`)
    }
    const { OnBehalfOfCredential } = await import('@azure/identity')
    return await withCredential(async (prove) => {
      const proof = await prove(`${source.authorityHost}/${tenantId}/oauth2/v2.0/token`)
      const last: Met = {}
      const options: CredentialOptions = {
        tenantId,
        clientId: source.clientId,
        userAssertionToken: assertion,
        authorityHost: source.authorityHost,
        // Else it asks login.microsoftonline.com about any other host.
        disableInstanceDiscovery: true,
        // Retrying is the queue's.
        retryOptions: { maxRetries: 0 },
        additionalPolicies: [
          { position: 'perCall', policy: keepAnswer(last, new URL(source.authorityHost).origin) },
        ],
      }
      // A certificate goes as an assertion too: by itself @azure/identity takes one from a file only.
      const credential =
        'client_secret' in proof
          ? new OnBehalfOfCredential({ ...options, clientSecret: proof.client_secret })
          : new OnBehalfOfCredential({
              ...options,
              getAssertion: () => Promise.resolve(proof.client_assertion),
            })
      try {
        const scope = `${source.graphBaseUrl}/.default`
        // As everywhere we say that we handle claims challenges.
        const token = await credential.getToken(scope, { enableCae: true, ...(claims && { claims }) })
        return { accessToken: token.token, expiresAt: token.expiresOnTimestamp }
      } catch (error) {
        throw last.refusal ?? (last.answer ? answerFailure(last.answer) : identityFailure(error))
      }
    })
  }
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
