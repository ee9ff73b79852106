import type { SourceConfig } from './source-config.ts'

type Exchanging = Pick<SourceConfig, 'slug' | 'clientId' | 'enabled' | 'exchange'>

/** What a token may be for to be one for the source's API (Entra docs: access-token-claims-reference, aud). */
export function audiencesOf({ clientId, audiences }: { clientId: string; audiences: readonly string[] }) {
  return [clientId, `api://${clientId}`, ...audiences]
}

/**
 * Why a source can't exchange tokens beside another that may share a tenant with it. What a token tells of a service's
 * groups is all that is stored of them, so another API's token takes them away again; and a token that is for both would be
 * judged by the rules of whichever comes first.
 */
export function exchangeRivalry(source: Exchanging, other: Exchanging): string | undefined {
  const [own, others] = [rulesOf(source), rulesOf(other)]
  if (!own || !others) return undefined
  const known = audiencesOf(others)
  const shared = audiencesOf(own).find((audience) => known.includes(audience))
  if (shared !== undefined)
    return `exchanges tokens for ${shared}, and so does ${other.slug} for the same tenant, and the rules of the first would count for both: give each an app registration and audiences of its own, or let one of them accept off`
  if (own.accepts === 'delegated' || others.accepts === 'delegated') return undefined
  return `exchanges tokens of apps of a tenant of which ${other.slug} does too: each would take from a service the groups that the other gave it; let one of them accept delegated or off`
}

function rulesOf({ enabled, exchange, clientId }: Exchanging) {
  return enabled && exchange ? { ...exchange, clientId } : undefined
}
