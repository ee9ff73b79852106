import type { z } from 'zod'

/** Refuses a user, a password or a path that doesn't decode: drivers decode them, and throw. For what is a URL. */
export function refuseBadPercent(url: string, context: z.RefinementCtx): void {
  const { username, password, pathname } = new URL(url)
  try {
    for (const part of [username, password, pathname]) decodeURIComponent(part)
  } catch {
    context.addIssue(
      'has a % that encodes nothing: percent-encode the user, the password and the database, % itself as %25',
    )
  }
}

/** Refuses a Redis URL with something else after the host than the number of a database. */
export function refuseNamedDatabase(url: string, context: z.RefinementCtx): void {
  if (!/^rediss?:/i.test(url) || !URL.canParse(url)) return
  if (!/^\/?\d*$/.test(new URL(url).pathname)) {
    context.addIssue('the part after the host must be a database number, as in redis://host:6379/0')
  }
}

/** Refuses a URL with a path, which would stand before the paths that are added. */
export function refusePath(url: string, context: z.RefinementCtx): void {
  if (!URL.canParse(url)) return
  const { pathname, origin } = new URL(url)
  if (pathname !== '/') context.addIssue(`must have no path: write ${origin}`)
}
