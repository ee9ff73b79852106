import { tenantSegment, type SourceConfig } from '../source-config.ts'
import { createEndpoints, type EntraEndpoints, type FindEndpoints } from './entra-endpoints.ts'
import { createKeySet, type KeySet, type OnStale } from './key-set.ts'

/** Who issues access tokens of one format; `{tenantid}` in an issuer stands for the tenant of a token. */
export type TokenAuthority = {
  issuer: string
  /** Whom the keys may say that they sign for. */
  keyIssuers: readonly string[]
  keys: KeySet
}

export type TokenAuthorities = {
  /** The keys behind these endpoints, read once for all who ask. */
  keySetOf: (endpoints: Pick<EntraEndpoints, 'keys'>) => KeySet
  /** Contacts Entra on first use. */
  authorityOf: (version: 'v1' | 'v2') => Promise<TokenAuthority>
}

/** The authorities of a source's tokens. `endpointsOf` finds those of version v2. */
export function createTokenAuthorities(
  source: SourceConfig,
  endpointsOf: FindEndpoints,
  onStale: OnStale | undefined,
): TokenAuthorities {
  const firstVersionOf = createEndpoints(source.authorityHost, source.clientId, 'v1')
  const keySets = new Map<string, KeySet>()
  const keySetOf = ({ keys: { href } }: Pick<EntraEndpoints, 'keys'>): KeySet => {
    const set = keySets.get(href) ?? createKeySet(new URL(href), { onStale })
    keySets.set(href, set)
    return set
  }
  return {
    keySetOf,
    authorityOf: async (version) => {
      const second = await endpointsOf(tenantSegment(source))
      if (version === 'v2')
        return { issuer: second.issuer, keyIssuers: [second.issuer], keys: keySetOf(second) }
      const first = await firstVersionOf(tenantSegment(source))
      // Which of the two its keys speak of isn't documented for version v1.
      return { issuer: first.issuer, keyIssuers: [first.issuer, second.issuer], keys: keySetOf(first) }
    },
  }
}
