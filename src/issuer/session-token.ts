import { Hono } from 'hono'
import { csrf } from 'hono/csrf'
import { HTTPException } from 'hono/http-exception'
import type { Context } from 'hono'
import type { Logger } from 'pino'
import type { Database } from '../../db/client.ts'
import { findTokenSubject } from '../../db/token-subjects.ts'
import { formOf, required } from './form.ts'
import { formRoute } from './form-route.ts'
import { maxGroups, type LocalTokens } from './local-token.ts'
import { OAuthRefusal } from './refusal.ts'
import { answerRefusal } from './token-endpoint.ts'

export type SessionTokenParts = {
  publicUrl: string
  db: Database
  applications: readonly string[]
  /** Who is signed in in this browser, and in which session. */
  readSession: (c: Context) => Promise<{ id: string; userId: string } | undefined>
  tokens: LocalTokens
  isPassing: (error: unknown) => boolean
  log: Logger
}

const maxBodyBytes = 4096

/** `POST /session/token`: whoever is signed in gets a local token for an application, good for as long as they are. */
export function sessionToken(parts: SessionTokenParts): Hono {
  const app = new Hono()
  app.onError((error, c) => {
    if (!(error instanceof HTTPException) || error.status !== 403) throw error
    const told = `ask from a page of ${parts.publicUrl}: no other origin may have tokens of whoever is signed in`
    return c.json({ error: 'forbidden', error_description: told }, 403)
  })
  app.use('/session/token', csrf({ origin: new URL(parts.publicUrl).origin }))
  formRoute(app, '/session/token', {
    maxBytes: maxBodyBytes,
    refused: (c, refusal) => answerRefusal(c, refusal, parts),
    answer: async (c) => {
      try {
        const application = required(await formOf(c), 'application')
        const session = await parts.readSession(c)
        const subject = session && (await findTokenSubject(parts.db, { userId: session.userId }, maxGroups))
        if (!session || !subject?.enabled)
          return c.json(
            { error: 'unauthorized', error_description: 'nobody is signed in; sign in first' },
            401,
          )
        if (!parts.applications.includes(application))
          throw new OAuthRefusal('invalid_request', 'application', 'application: no application of this id')
        const { token, expiresIn, scope } = await parts.tokens.issue({
          subject,
          application,
          scopes: ['groups'],
          sid: session.id,
        })
        return c.json({ access_token: token, token_type: 'Bearer', expires_in: expiresIn, scope })
      } catch (error) {
        return answerRefusal(c, error, parts)
      }
    },
  })
  return app
}
