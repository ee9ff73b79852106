import { createHash, timingSafeEqual } from 'node:crypto'
import { Hono, type Context } from 'hono'
import type { Logger } from 'pino'
import type { Application } from '../setting-shapes.ts'
import { formOf, required } from './form.ts'
import { formRoute } from './form-route.ts'
import type { GoodToken, ReadGoodToken } from './good-token.ts'
import { groupClaims } from './local-token.ts'
import { OAuthRefusal } from './refusal.ts'
import { answerRefusal } from './token-endpoint.ts'

export type IntrospectionParts = {
  publicUrl: string
  issuer: string
  applications: readonly Application[]
  /** These may ask about every token. */
  apiKeys: readonly string[]
  readGoodToken: ReadGoodToken
  isPassing: (error: unknown) => boolean
  log: Logger
}

const maxBodyBytes = 128 * 1024

/**
 * `POST /introspect/` (RFC 7662): whether a local token still holds, and which groups whom it is about is in now. An
 * application proves itself with its secret and is told of tokens that are for it; an API key is told of all.
 */
export function introspection(parts: IntrospectionParts): Hono {
  const app = new Hono()
  formRoute(app, '/introspect/', {
    maxBytes: maxBodyBytes,
    refused: (c, refusal) => answerRefusal(c, refusal, parts),
    answer: async (c) => {
      try {
        const form = await formOf(c)
        const mayKnow = whoAsks(parts, c, form)
        const good = await parts.readGoodToken(required(form, 'token'))
        return c.json(good && mayKnow(good) ? told(good, parts) : { active: false })
      } catch (error) {
        return answerRefusal(c, error, parts)
      }
    },
  })
  return app
}

function told({ token, subject }: GoodToken, { issuer, publicUrl }: IntrospectionParts): object {
  return {
    active: true,
    ...token,
    iss: issuer,
    client_id: token.azp ?? token.aud,
    token_type: 'Bearer',
    username: subject.displayName ?? undefined,
    ...groupClaims(subject, publicUrl),
  }
}

/** Which tokens whoever asks may be told of. */
function whoAsks(
  { applications, apiKeys }: IntrospectionParts,
  c: Context,
  form: ReadonlyMap<string, string>,
): (good: GoodToken) => boolean {
  const [, scheme = '', presented = ''] =
    /^(Bearer|Basic) +(\S+) *$/i.exec(c.req.header('Authorization') ?? '') ?? []
  if (scheme.toLowerCase() === 'bearer') {
    if (apiKeys.filter((key) => isSame(key, presented)).length === 0) throw unproven()
    return () => true
  }
  const pairs =
    scheme === '' ? [[form.get('client_id'), form.get('client_secret')] as const] : basicPairs(presented)
  const known = applications.filter(({ id, secret }) =>
    pairs
      .map((pair) => isSame(id, pair[0] ?? '') && isSame(secret ?? '', pair[1] ?? '') && secret !== undefined)
      .includes(true),
  )
  const [application] = known
  if (!application) throw unproven()
  return ({ token }) => token.aud === application.id
}

/** Both parts are encoded as in a form (RFC 6749, 2.3.1); what curl sends isn't, so that each is meant either way. */
function basicPairs(presented: string): (readonly [id: string, secret: string])[] {
  const [, id = '', secret = ''] =
    /^([^:]*):(.*)$/.exec(Buffer.from(presented, 'base64').toString('utf8')) ?? []
  const decode = (text: string) => decodeURIComponent(text.replaceAll('+', ' '))
  try {
    return [
      [id, secret],
      [decode(id), decode(secret)],
    ]
  } catch {
    return [[id, secret]]
  }
}

/** In a time that tells nothing. */
function isSame(one: string, other: string): boolean {
  const digest = (text: string) => createHash('sha256').update(text).digest()
  return timingSafeEqual(digest(one), digest(other))
}

function unproven(): OAuthRefusal {
  const how =
    'prove yourself with the id and the secret of an application of APPLICATIONS, or with an API key as a bearer token'
  return new OAuthRefusal('invalid_client', 'introspection', how)
}
