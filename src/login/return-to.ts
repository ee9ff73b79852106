const placeholder = 'http://gateway.invalid'

/** Characters, percent-encoded: it travels in a cookie, of which a browser may hold several at once. */
const maxLength = 512

/**
 * Where to go after signing in: a path of this gateway, or `/` for anything a browser might take to another host, among
 * them `//host`, `/\host`, `/<tab>/host` and `/.//host`, and for the sign-in routes, which would go round in circles.
 */
export function safeReturnTo(wanted: string | undefined): string {
  if (!wanted?.startsWith('/') || wanted.length > 1024 || /[\\\p{Cc}]/u.test(wanted)) return '/'
  if (!URL.canParse(wanted, placeholder)) return '/'
  const { origin, pathname, search, hash } = new URL(wanted, placeholder)
  if (origin !== placeholder || pathname.startsWith('//') || pathname.startsWith('/source/')) return '/'
  const path = `${pathname}${search}${hash}`
  return path.length > maxLength ? '/' : path
}
