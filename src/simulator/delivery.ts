import type { ServerResponse } from 'node:http'
import { once } from 'node:events'
import { setTimeout as wait } from 'node:timers/promises'
import type { Delivery } from './faults.ts'
import type { HttpAnswer } from './http.ts'

const blanks = Buffer.alloc(64 * 1024, ' ')

/** Sends an answer, well or as told. */
export async function deliver(
  outgoing: ServerResponse,
  answer: HttpAnswer,
  delivery: Delivery,
  headOnly: boolean,
): Promise<void> {
  if (delivery.hang === true) return
  const gone = leaving(outgoing)
  if (delivery.delayMs !== undefined) await pause(delivery.delayMs, gone)
  if (outgoing.destroyed) return
  if (delivery.cut === 'before-headers') {
    outgoing.destroy()
    return
  }
  const body = Buffer.from(answer.body, 'utf8')
  const half = body.subarray(0, Math.floor(body.length / 2))
  // A half is sent under the whole's length, so that no client can take it for the whole.
  const length = delivery.endless === true ? {} : { 'content-length': body.length }
  outgoing.writeHead(answer.status, { ...answer.headers, ...length })
  if (headOnly) outgoing.end()
  else if (delivery.hang === 'mid-body') outgoing.write(half)
  else if (delivery.cut === 'mid-body') outgoing.write(half, () => outgoing.destroy())
  else if (delivery.drip) await drip(outgoing, body, delivery.drip, gone)
  else if (delivery.endless === true) await goOn(outgoing, half, gone)
  else outgoing.end(body)
}

async function drip(
  outgoing: ServerResponse,
  body: Buffer,
  { bytes, everyMs }: { bytes: number; everyMs: number },
  gone: AbortSignal,
): Promise<void> {
  for (let at = 0; at < body.length && !gone.aborted; at += bytes) {
    outgoing.write(body.subarray(at, at + bytes))
    await pause(everyMs, gone)
  }
  outgoing.end()
}

async function goOn(outgoing: ServerResponse, beginning: Buffer, gone: AbortSignal): Promise<void> {
  outgoing.write(beginning)
  while (!gone.aborted)
    if (!outgoing.write(blanks)) await once(outgoing, 'drain', { signal: gone }).catch(() => undefined)
}

function leaving(outgoing: ServerResponse): AbortSignal {
  const gone = new AbortController()
  outgoing.once('close', () => gone.abort())
  return gone.signal
}

async function pause(milliseconds: number, gone: AbortSignal): Promise<void> {
  await wait(milliseconds, undefined, { signal: gone }).catch(() => undefined)
}
