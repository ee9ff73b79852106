import type { Hono } from 'hono'

type Cookie = { value: string; path: string; flags: string }

/**
 * As much of a browser as signing in needs: cookies by path and host, redirects followed step by step. Requests to the
 * gateway's origin go to the app, others over the network.
 */
export function createBrowser(app: Hono, origin: string) {
  const jars = new Map<string, Map<string, Cookie>>()
  const jarOf = (url: URL) => {
    const jar = jars.get(url.host) ?? new Map<string, Cookie>()
    jars.set(url.host, jar)
    return jar
  }
  const visited: string[] = []

  async function fetchOnce(address: string, init: RequestInit = {}): Promise<Response> {
    const url = new URL(address, origin)
    visited.push(url.href)
    const jar = jarOf(url)
    const headers = new Headers(init.headers)
    const sent = [...jar].filter(([, { path }]) => url.pathname.startsWith(path))
    if (sent.length > 0) headers.set('cookie', sent.map(([name, { value }]) => `${name}=${value}`).join('; '))
    const request = { ...init, headers, redirect: 'manual' as const }
    const response = url.origin === origin ? await app.request(url.href, request) : await fetch(url, request)
    for (const line of response.headers.getSetCookie()) {
      const [, name = '', value = ''] = /^([^=]+)=([^;]*)/.exec(line) ?? []
      const path = /; path=([^;]+)/i.exec(line)?.[1] ?? '/'
      if (/max-age=0\b/i.test(line)) jar.delete(name)
      else jar.set(name, { value, path, flags: line.slice(line.indexOf(';') + 1) })
    }
    return response
  }

  /** Follows redirects while `until` lets it. */
  async function open(address: string, until: (next: URL) => boolean = () => true): Promise<Response> {
    let response = await fetchOnce(address)
    for (let hops = 0; hops < 12; hops += 1) {
      const location = response.headers.get('location')
      if (location === null) return response
      const next = new URL(location, visited.at(-1))
      if (!until(next)) return response
      response = await fetchOnce(next.href)
    }
    throw new Error('too many redirects')
  }

  return { fetchOnce, open, visited, cookies: () => jarOf(new URL(origin)) }
}

export type Browser = ReturnType<typeof createBrowser>
