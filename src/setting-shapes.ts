import { z } from 'zod'
import { namePattern, type NamePattern } from './reconcile/filter.ts'
import { refuseBadPercent } from './url-rules.ts'

/** A key that seals tokens or signs cookies; the first of a list is the one in use, the others still open. */
export type NamedKey = { id: string; key: Uint8Array }

const loopbackHosts = new Set(['localhost', '127.0.0.1', '[::1]'])

/** A whole number, as text. */
export const integer = (min: number, max: number) =>
  z
    .string()
    .regex(/^\d+$/, `must be a whole number from ${min} to ${max}`)
    .transform(Number)
    .pipe(z.number().min(min, `must be at least ${min}`).max(max, `must be at most ${max}`))

/** An https URL without query; http for loopback hosts only. */
export const origin = z.string().transform((text, context) => {
  const url = URL.canParse(text) ? new URL(text) : undefined
  if (!url || !/^https?:$/.test(url.protocol)) {
    context.addIssue('must be an https URL')
  } else if (url.protocol === 'http:' && !loopbackHosts.has(url.hostname)) {
    context.addIssue('must be https: http is accepted for loopback hosts only')
  } else if (url.username || url.password || url.search || url.hash) {
    context.addIssue('must have no user, query or fragment')
  } else {
    return `${url.origin}${url.pathname}`.replace(/\/+$/, '')
  }
  return z.NEVER
})

/** A URL of one of these protocols. */
export const connectionUrl = (...protocols: string[]) =>
  z
    .string()
    .refine((text) => URL.canParse(text) && protocols.includes(new URL(text).protocol), {
      error: `must be a URL that starts with ${protocols.map((protocol) => `${protocol}//`).join(' or ')}`,
      abort: true,
    })
    .superRefine(refuseBadPercent)

/** `kid:base64-of-32-bytes`, comma-separated. */
export const namedKeys = z.string().transform((text, context): NamedKey[] => {
  const keys: NamedKey[] = []
  for (const [index, entry] of text.split(',').entries()) {
    const parts = /^\s*([\w.-]{1,32}):([A-Za-z0-9+/_-]+={0,2})\s*$/.exec(entry)
    const key = Buffer.from(parts?.[2] ?? '', 'base64')
    if (!parts?.[1]) context.addIssue(`entry ${index + 1} must be kid:base64-of-32-bytes`)
    else if (key.length !== 32)
      context.addIssue(`entry ${index + 1} (${parts[1]}) has ${key.length} bytes, must have 32`)
    else if (keys.some(({ id }) => id === parts[1]))
      context.addIssue(`entry ${index + 1} repeats the key id ${parts[1]}`)
    else keys.push({ id: parts[1], key: new Uint8Array(key) })
  }
  return keys
})

/** Secrets long enough not to be guessed, comma-separated. */
export const secretList = z.string().transform((text, context) => {
  const secrets = text.split(',').map((secret) => secret.trim())
  for (const [index, secret] of secrets.entries()) {
    if (secret.length < 24) context.addIssue(`entry ${index + 1} must have at least 24 characters`)
    // A header can't carry another: visible ASCII, RFC 9110 section 5.5.
    if (!/^[!-~]*$/.test(secret))
      context.addIssue(`entry ${index + 1} must have no space and only ASCII characters`)
  }
  return secrets
})

/** An application that local tokens are for, and what it asks about them with, if it may. */
export type Application = { id: string; secret: string | undefined }

/** Ids of applications, each alone or with `=` and a secret, comma-separated. */
export const applicationList = z.string().transform((text, context): Application[] => {
  const applications: Application[] = []
  for (const [index, entry] of text.split(',').entries()) {
    const [, id, secret] = /^\s*([\w.:/~-]{1,200})(?:=(.*?))?\s*$/.exec(entry) ?? []
    const problem = (message: string) => context.addIssue(`entry ${index + 1} ${message}`)
    if (id === undefined) problem('must be the id of an application, alone or followed by = and a secret')
    else if (applications.some((each) => each.id === id)) problem(`repeats ${id}`)
    else if (secret !== undefined && secret.length < 24)
      problem(`(${id}) must have a secret of at least 24 characters`)
    else if (secret !== undefined && !/^[!-~]+$/.test(secret))
      problem(`(${id}) must have a secret without spaces and of ASCII characters only`)
    else applications.push({ id, secret })
  }
  return applications
})

export const flag = z.enum(['true', 'false'], 'must be true or false').transform((text) => text === 'true')
export const guid = z
  .string()
  .regex(/^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i, 'must be a GUID')
  .transform((text) => text.toLowerCase())

/** GUIDs, comma-separated. */
export const guidList = z.string().transform((text, context): string[] =>
  text.split(',').flatMap((entry, index) => {
    const parsed = guid.safeParse(entry.trim())
    if (!parsed.success) context.addIssue(`entry ${index + 1} must be a GUID`)
    return parsed.data ?? []
  }),
)

/** A pattern of names, matched in linear time. */
export const pattern = z.string().transform((text, context): NamePattern => {
  try {
    return namePattern(text)
  } catch {
    context.addIssue('must be a pattern in RE2 syntax: no back-references, no look-around')
    return z.NEVER
  }
})
