import { SyncError } from '../errors.ts'

const maxRedirects = 10

/**
 * Signs one person in as a browser does: follows every redirect from the source's first page, keeping cookies for each
 * origin. Resolves when the last page is the application's own and has set a session.
 * @throws {SyncError} `internal`, with the path that answered otherwise; never with its query, which carries codes.
 */
export async function signIn(publicUrl: string, slug: string, loginHint: string): Promise<void> {
  const cookies = new Map<string, Map<string, string>>()
  let url = new URL(`/source/oauth/login/${slug}/?login_hint=${encodeURIComponent(loginHint)}`, publicUrl)
  for (let step = 0; step <= maxRedirects; step += 1) {
    const jar = cookies.get(url.origin) ?? new Map<string, string>()
    cookies.set(url.origin, jar)
    const cookie = [...jar].map(([name, value]) => `${name}=${value}`).join('; ')
    const response = await fetch(url, { redirect: 'manual', headers: cookie ? { cookie } : {} })
    await response.body?.cancel()
    for (const set of response.headers.getSetCookie()) keepCookie(jar, set)
    const location = response.headers.get('location')
    if (response.status >= 300 && response.status < 400 && location) {
      url = new URL(location, url)
      continue
    }
    if (response.status === 200 && url.origin === new URL(publicUrl).origin && jar.size > 0) return
    throw new SyncError('internal', `sign-in ended at ${url.origin}${url.pathname} with ${response.status}`)
  }
  throw new SyncError('internal', 'sign-in goes round in circles')
}

function keepCookie(jar: Map<string, string>, set: string): void {
  const [pair = '', ...attributes] = set.split(';')
  const [name = '', ...value] = pair.trim().split('=')
  const removed = attributes.some((attribute) => /^\s*max-age=0\s*$/i.test(attribute))
  if (removed) jar.delete(name)
  else jar.set(name, value.join('='))
}
