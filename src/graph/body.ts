import { GraphUnavailable, SyncError } from '../errors.ts'
import { failureKind } from '../failure-kind.ts'

/**
 * Reads a body within bounds and parses it. Undefined for an empty body and for one that isn't JSON under a status that
 * refuses anyway (an HTML 503), since there the status decides.
 * @throws {SyncError} `answer_too_large` · {GraphUnavailable} cut off, out of time, or a 2xx that isn't JSON.
 */
export async function readJson(
  response: Response,
  limits: { maxBytes: number; signal: AbortSignal },
): Promise<unknown> {
  const text = await readText(response, limits)
  if (text === '') return undefined
  try {
    return JSON.parse(text)
  } catch (cause) {
    if (!response.ok) return undefined
    throw new GraphUnavailable(`Graph answered ${response.status} with a body that is not JSON`, {
      cause: failureKind(cause),
    })
  }
}

async function readText(
  response: Response,
  { maxBytes, signal }: { maxBytes: number; signal: AbortSignal },
): Promise<string> {
  const decoder = new TextDecoder()
  let text = ''
  let bytes = 0
  try {
    for await (const chunk of response.body ?? []) {
      bytes += chunk.byteLength
      if (bytes > maxBytes)
        throw new SyncError('answer_too_large', `Graph's answer is larger than ${maxBytes} bytes`)
      text += decoder.decode(chunk, { stream: true })
    }
  } catch (cause) {
    if (cause instanceof SyncError) throw cause
    const why = signal.aborted ? 'took too long' : 'was cut off'
    throw new GraphUnavailable(`Graph's answer ${why}`, { cause: failureKind(cause) })
  }
  return text + decoder.decode()
}
