import type { SourceConfig } from '../source-config.ts'
import type { AppCredentials } from './credentials.ts'
import type { Exchange } from './exchanged-tokens.ts'
import { identityToken } from './identity-token.ts'

/** The on-behalf-of exchange (Entra docs: v2-oauth2-on-behalf-of-flow). */
export function createExchange(
  source: Pick<SourceConfig, 'authorityHost' | 'clientId' | 'graphBaseUrl'>,
  credentials: Pick<AppCredentials, 'withCredential'>,
): Exchange {
  return async (userAssertionToken, { tenantId, claims }) =>
    await identityToken(source, credentials, {
      tenantId,
      neededFor: 'tokens of audience "api"',
      credentialFor: ({ OnBehalfOfCredential }, proof, options) => {
        const about = { ...options, tenantId, clientId: source.clientId, userAssertionToken }
        // A certificate goes as an assertion too: by itself @azure/identity takes one from a file only.
        return 'client_secret' in proof
          ? new OnBehalfOfCredential({ ...about, clientSecret: proof.client_secret })
          : new OnBehalfOfCredential({
              ...about,
              getAssertion: () => Promise.resolve(proof.client_assertion),
            })
      },
      // As everywhere we say that we handle claims challenges.
      ask: { enableCae: true, ...(claims && { claims }) },
    })
}
