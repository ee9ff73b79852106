import { decodeJwt } from 'jose'
import { z } from 'zod'
import { AccessDenied, SyncError, TokenRejected } from '../errors.ts'
import type { SourceConfig } from '../source-config.ts'
import type { AppCredentials } from './credentials.ts'
import { identityToken } from './identity-token.ts'

/** A Graph token of the app itself, with what an administrator of the tenant has agreed to. */
export type AppToken = {
  accessToken: string
  /** Milliseconds since 1970 by this process's clock. */
  expiresAtMs: number
  /**
   * The application permissions that the token says it carries, to tell an operator which one is missing. They prove
   * nothing and may be empty: what a token holds is between Entra and Graph (Entra docs: access-tokens).
   */
  roles: readonly string[]
}

export type AppTokens = {
  /**
   * A token that lives for five minutes more, if Entra gives such. `refused` is one that Graph has just answered 401.
   * @throws {SyncError} `config_invalid`, `unexpected_response` · {AccessDenied} · {Throttled} · {GraphUnavailable}; never an
   * error that a sign-in would help with, since there is nobody to sign in.
   */
  tokenFor: (tenantId: string, about?: { refused?: string | undefined }) => Promise<AppToken>
}

/** Milliseconds of life below which a token is asked for anew. */
const renewBelowMs = 5 * 60_000

/** Tenants whose token is kept: a source for any tenant must not grow without bound. */
const maxKept = 500

/**
 * Tokens by client credentials (Entra docs: v2-oauth2-client-creds-grant-flow). They are kept in this process's memory only,
 * and a tenant's is asked for once however many wait for it.
 */
export function createAppTokens(
  source: Pick<SourceConfig, 'authorityHost' | 'clientId' | 'graphBaseUrl'>,
  credentials: Pick<AppCredentials, 'withCredential'>,
): AppTokens {
  const known = new Map<string, AppToken>()
  const asking = new Map<string, Promise<AppToken>>()
  const ask = async (tenantId: string): Promise<AppToken> => {
    try {
      const token = await requestToken(source, credentials, tenantId)
      known.delete(tenantId)
      known.set(tenantId, token)
      const [oldest] = known.keys()
      if (known.size > maxKept && oldest !== undefined) known.delete(oldest)
      return token
    } finally {
      asking.delete(tenantId)
    }
  }
  const askOnce = async (tenantId: string): Promise<AppToken> => {
    const underWay = asking.get(tenantId) ?? ask(tenantId)
    asking.set(tenantId, underWay)
    return await underWay
  }
  return {
    tokenFor: async (tenantId, { refused } = {}) => {
      const kept = known.get(tenantId)
      // Also where no other can be had just now: the next who asks doesn't know that it was refused.
      if (kept && kept.accessToken === refused) known.delete(tenantId)
      else if (kept && kept.expiresAtMs - Date.now() > renewBelowMs) return kept
      const token = await askOnce(tenantId)
      if (token.accessToken !== refused) return token
      known.delete(tenantId)
      throw new SyncError('unexpected_response', 'Entra gave a token again that Graph has refused')
    },
  }
}

async function requestToken(
  source: Parameters<typeof createAppTokens>[0],
  credentials: Parameters<typeof createAppTokens>[1],
  tenantId: string,
): Promise<AppToken> {
  try {
    const { accessToken, expiresAt } = await identityToken(source, credentials, {
      tenantId,
      neededFor: 'tokens of the app itself',
      credentialFor: ({ ClientAssertionCredential, ClientSecretCredential }, proof, options) =>
        'client_secret' in proof
          ? new ClientSecretCredential(tenantId, source.clientId, proof.client_secret, options)
          : // A certificate's too: by itself @azure/identity takes one from a file only.
            new ClientAssertionCredential(
              tenantId,
              source.clientId,
              () => Promise.resolve(proof.client_assertion),
              options,
            ),
      // Without `enableCae`: Graph sends no challenges then, which nobody is there to meet (Entra docs: claims-challenge).
    })
    return { accessToken, expiresAtMs: expiresAt, roles: rolesIn(accessToken) }
  } catch (error) {
    throw aboutTheApp(error)
  }
}

/** What is said of a person elsewhere is about the app here: a policy, or consent that an administrator hasn't given. */
function aboutTheApp(error: unknown): unknown {
  if (!(error instanceof AccessDenied) && !(error instanceof TokenRejected)) return error
  const { reason, requestId } = error
  const told = 'an administrator of the tenant has to agree to its permissions, or a policy keeps it out'
  return new AccessDenied(`Entra gives the app no token of its own (${reason}): ${told}`, {
    reason,
    requestId,
  })
}

const payload = z.object({ roles: z.array(z.string()) })

function rolesIn(accessToken: string): readonly string[] {
  try {
    return payload.safeParse(decodeJwt(accessToken)).data?.roles ?? []
  } catch {
    return []
  }
}
