import type { HttpRequest, Origin } from './http.ts'

/** One request that arrived. Headers hold what the client sent, tokens included. */
export type LoggedRequest = {
  origin: Origin
  method: string
  path: string
  query: string
  headers: Readonly<Record<string, string>>
  at: Date
  /** Set on the inner requests of a Graph batch, which are listed beside the batch itself. */
  via?: '$batch'
}

export type RequestLog = {
  /** What arrived, oldest first; `path` narrows it as in a fault. */
  all(only?: { origin?: Origin; path?: string | RegExp }): LoggedRequest[]
  clear(): void
}

export type RequestRecorder = RequestLog & { record(request: HttpRequest, via?: '$batch'): void }

/** Keeps the newest requests, at least `limit` of them; older ones are dropped in bulk. */
export function createRequestLog(limit: number, now: () => number): RequestRecorder {
  let entries: LoggedRequest[] = []
  return {
    record({ origin, method, path, rawQuery, headers }, via) {
      if (limit === 0) return
      if (entries.length >= limit * 2) entries = entries.slice(-limit)
      const entry: LoggedRequest = {
        origin,
        method,
        path,
        query: rawQuery,
        headers,
        at: new Date(now()),
      }
      if (via) entry.via = via
      entries.push(entry)
    },
    all: (only = {}) =>
      entries.filter(
        (entry) =>
          (only.origin === undefined || entry.origin === only.origin) &&
          (only.path === undefined || pathMatches(only.path, entry.path)),
      ),
    clear() {
      entries = []
    },
  }
}

/** A string matches anywhere in the path; a pattern as it says. */
export function pathMatches(wanted: string | RegExp, path: string): boolean {
  if (typeof wanted === 'string') return path.includes(wanted)
  wanted.lastIndex = 0
  return wanted.test(path)
}
