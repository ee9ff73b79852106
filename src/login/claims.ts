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

/** The value of the parameter `claims`: our capability, and what a challenge has asked for. */
export function claimsParameter(challenge?: string | null): string {
  return mergeClaims(capability, challenge) ?? capability
}

/** Both requests in one; where they differ about a claim the later one holds. What isn't a claims request is left out. */
export function mergeClaims(...texts: readonly (string | null | undefined)[]): string | undefined {
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
