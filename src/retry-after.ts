/** Milliseconds. Graph also sends "1" for ever and, through proxies, hours; both ends are ours. */
const retryFloorMs = 1000
const retryCapMs = 3_600_000
const retryDefaultMs = 10_000

/**
 * `Retry-After` in milliseconds: seconds, with fractions too, or an HTTP date (RFC 9110, 10.2.3); floored and capped.
 * `otherwise` where there is none that makes sense.
 */
export function retryAfterMs(
  value: string | null,
  now: number = Date.now(),
  otherwise: number = retryDefaultMs,
): number {
  const text = value?.trim() ?? ''
  const asked = /^\d+(\.\d+)?$/.test(text) ? Number(text) * 1000 : Date.parse(text) - now
  return Math.min(Math.max(Number.isNaN(asked) ? otherwise : asked, retryFloorMs), retryCapMs)
}
