import { z } from 'zod'

/** Claims asked for in a request of OpenID Connect (Core, 5.5), by the token they are wanted in. */
const claimsRequest = z.record(z.string(), z.record(z.string(), z.unknown()))

/**
 * Says that we handle claims challenges: without it Graph sends none, and a disabled person's token works until it
 * expires (Entra docs: claims-challenge, client capabilities).
 */
const capability = '{"access_token":{"xms_cc":{"values":["cp1"]}}}'

/** Longer ones would not fit into an address. */
const maxLength = 1024

type Texts = readonly (string | null | undefined)[]

/** The value of the parameter `claims`: our capability, and what a challenge has asked for. */
export function claimsParameter(challenge?: string | null): string {
  return merge([capability, challenge]) ?? capability
}

/**
 * All requests in one; where they differ about a claim the later one holds. What isn't a claims request is left out, and
 * so are the oldest where all together are too long: what was asked for last is what stands in the way now.
 */
export function mergeClaims(...texts: Texts): string | undefined {
  if (fitTogether(...texts)) return merge(texts)
  const [, ...later] = texts
  return mergeClaims(...later)
}

/** Whether {@link mergeClaims} leaves none of these out for its length. */
export function fitTogether(...texts: Texts): boolean {
  return (merge(texts)?.length ?? 0) <= maxLength
}

function merge(texts: Texts): string | undefined {
  const merged = new Map<string, Record<string, unknown>>()
  for (const text of texts) {
    for (const [token, wanted] of Object.entries(parse(text) ?? {}))
      merged.set(token, { ...merged.get(token), ...wanted })
  }
  return merged.size === 0 ? undefined : JSON.stringify(Object.fromEntries(merged))
}

function parse(text: string | null | undefined): z.output<typeof claimsRequest> | undefined {
  if (!text || text.length > maxLength) return undefined
  try {
    return claimsRequest.safeParse(JSON.parse(text)).data
  } catch {
    return undefined
  }
}
