import { z } from 'zod'
import { chooseSource, type SourceConfig } from '../source-config.ts'
import { storableText } from '../storable-text.ts'

const guid = z
  .string()
  .regex(/^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$/, 'must be a GUID')
  .transform((text) => text.toLowerCase())
const label = z.string().max(1024).transform(storableText)
/** What an HTTP header can carry (RFC 9110 section 5.5) of what a token may be (RFC 6749 appendix A). */
const token = z
  .string()
  .min(1)
  .max(32_768)
  .regex(/^[\x21-\x7e]*$/, 'must be ASCII without spaces and control characters')
/** 1970 to 9999. What is longer is milliseconds, or an expiry nobody gives out. */
const instant = z
  .union([
    z.iso.datetime({ offset: true }),
    z.number().int().positive().max(253_402_300_799, 'must be in seconds'),
  ])
  .transform((told) => new Date(typeof told === 'number' ? told * 1000 : told).toISOString())
  .refine((text) => /^(19[7-9]|[2-9]\d\d)\d-/.test(text), 'must be a time from 1970 to 9999')

/** Who signed in and with which tokens, as the producer and `POST /v1/login-events` take it. */
export const signedInUser = z.strictObject({
  tenantId: guid,
  objectId: guid,
  userPrincipalName: label.optional(),
  displayName: label.optional(),
  mail: label.optional(),
  tokens: z
    .strictObject({
      accessToken: token,
      /** ISO 8601 with an offset, or seconds since 1970. */
      expiresAt: instant,
      refreshToken: token.optional(),
      scopes: z.array(z.string().regex(/^[\x21-\x7e]{1,256}$/, 'must be a scope')).max(256),
      /** Whom the access token is for: Graph (the default), or the application's own API. */
      audience: z.enum(['graph', 'api'], 'must be graph or api').optional(),
    })
    .refine(({ audience, refreshToken }) => audience !== 'api' || refreshToken === undefined, {
      path: ['refreshToken'],
      error: 'must be left out with the audience api, whose token is exchanged and not renewed',
    }),
})

/** The same, with the source they signed in through where there are several; the source is chosen in the end. */
export function reportedUserOf(sources: readonly SourceConfig[]) {
  return signedInUser.extend({ source: z.string().optional() }).transform((user, context) => {
    const chosen = chooseSource(sources, { slug: user.source, tenantId: user.tenantId })
    if ('source' in chosen) return { ...user, source: chosen.source.slug }
    context.addIssue({ code: 'custom', path: [chosen.field], message: chosen.problem })
    return z.NEVER
  })
}

export type SignedInUser = z.input<typeof signedInUser>

export type LoginResult =
  | { eventId: string; outcome: 'pending' }
  /** The source has no group sync: no run follows. */
  | { eventId: string; outcome: 'off' }
  | { eventId: string; outcome: string; runId: string }

/**
 * Stores the login event and the sealed tokens, then hands the event to the queue. Resolves when the event is stored,
 * whether or not the queue could be reached; with `waitUpToMs`, with the outcome if the run ends in time.
 *
 * Rejects with a `SyncError` where nothing could be stored: `invalid_login_event`, or `database_failed`. A sign-in flow
 * catches it and lets the person in.
 */
export type LoginSucceeded = (user: SignedInUser, options?: { waitUpToMs?: number }) => Promise<LoginResult>

/** The same for people of several sources. */
export type LoginReported = (
  user: SignedInUser & { source?: string | undefined },
  options?: { waitUpToMs?: number },
) => Promise<LoginResult>
