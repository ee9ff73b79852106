import { setTimeout as delay } from 'node:timers/promises'

/** Whether the promise is fulfilled in time. It goes on either way, and its rejection counts as heard. */
export async function within(ms: number, promise: Promise<unknown>): Promise<boolean> {
  const late = new AbortController()
  const done = promise.then(() => true).catch(() => false)
  try {
    return await Promise.race([done, delay(ms, false, { signal: late.signal })])
  } finally {
    late.abort()
  }
}
