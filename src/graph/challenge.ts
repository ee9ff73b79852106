import { z } from 'zod'

/** Longer is no challenge of Graph's, and what it holds is stored and sent on in an address. */
const maxLength = 8192

const claimsRequest = z.record(z.string(), z.unknown())

/** A scheme, or `name=value` with the value a token or a quoted string (RFC 9110, 11.2 and 11.6.1). */
const part = /([\w!#$%&'*+.^`|~-]+)(?:[ \t]*=[ \t]*(?:"((?:[^"\\]|\\.)*)"|([^\s",]+)))?/g

/**
 * The claims that a 401 asks for, as the JSON text to ask for a token with, or undefined where it asks for none. There may
 * be several challenges, in one header or in more, their fields in any order (Entra docs: claims-challenge).
 */
export function challengeClaims(headers: Headers): string | undefined {
  const text = headers.get('www-authenticate') ?? ''
  if (text.length > maxLength) return undefined
  const challenges: { scheme: string; fields: Map<string, string> }[] = []
  for (const [, name = '', quoted, bare] of text.matchAll(part)) {
    const value = quoted?.replaceAll(/\\(.)/g, '$1') ?? bare
    if (value === undefined) challenges.push({ scheme: name.toLowerCase(), fields: new Map() })
    else challenges.at(-1)?.fields.set(name.toLowerCase(), value)
  }
  for (const { scheme, fields } of challenges) {
    if (scheme !== 'bearer' || fields.get('error') !== 'insufficient_claims') continue
    const claims = decode(fields.get('claims') ?? '')
    if (claims !== undefined) return claims
  }
  return undefined
}

/** Base64 with either alphabet, padded or not, as Node reads both. */
function decode(base64: string): string | undefined {
  try {
    const claims: unknown = JSON.parse(Buffer.from(base64, 'base64').toString('utf8'))
    return claimsRequest.safeParse(claims).success ? JSON.stringify(claims) : undefined
  } catch {
    return undefined
  }
}
