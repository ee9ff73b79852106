/**
 * As the promise, unless the signal aborts before: then it rejects with the signal's reason. The promise goes on either
 * way, and its rejection counts as heard.
 */
export async function unlessAborted<Value>(
  signal: AbortSignal | undefined,
  promise: Promise<Value>,
): Promise<Value> {
  if (!signal) return await promise
  let forget: (() => void) | undefined
  const aborted = new Promise<never>((_, reject) => {
    const onAbort = () => reject(signal.reason)
    forget = () => signal.removeEventListener('abort', onAbort)
    if (signal.aborted) onAbort()
    else signal.addEventListener('abort', onAbort, { once: true })
  })
  try {
    return await Promise.race([aborted, promise])
  } finally {
    forget?.()
  }
}
