import type { CustomFetch } from 'openid-client'
import { GraphUnavailable } from '../errors.ts'

/** Bytes; an answer with tokens has a few thousand. */
const maxBytes = 1 << 20

/**
 * Fetches an answer of Entra within bounds. It comes without `WWW-Authenticate`, which openid-client takes for a challenge and
 * then reads no further: what Entra says stands in the body.
 * @throws {GraphUnavailable} where the body is larger than a mebibyte.
 */
export const fetchFromEntra: CustomFetch = async (url, { body, ...options }) => {
  const response = await fetch(url, body === undefined ? options : { ...options, body })
  const chunks: Uint8Array[] = []
  let bytes = 0
  for await (const chunk of response.body ?? []) {
    bytes += chunk.byteLength
    if (bytes > maxBytes) throw new GraphUnavailable(`Entra's answer is larger than ${maxBytes} bytes`)
    chunks.push(chunk)
  }
  const headers = new Headers(response.headers)
  headers.delete('www-authenticate')
  const { status } = response
  return new Response(bytes === 0 ? null : Buffer.concat(chunks), { status, headers })
}
