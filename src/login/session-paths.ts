import { z } from 'zod'
import { commonAnswers, jsonAnswer, schemaOf, type ApiPaths } from '../openapi.ts'
import { id, label, profile, time } from '../profile-shape.ts'

/** Answer of `GET /session`. */
export const sessionAnswer = z.discriminatedUnion('signedIn', [
  z.object({ signedIn: z.literal(false) }),
  z.object({
    signedIn: z.literal(true),
    source: z.string(),
    user: z.object(profile),
    groups: z.array(
      z.object({
        id,
        objectId: id,
        displayName: label,
        origin: z.enum(['entra', 'local']).describe('Somebody who is in a group both ways has two entries.'),
        since: time,
      }),
    ),
    freshness: z.object({ syncedAt: time.nullable(), state: z.string() }),
  }),
])

export const sessionPaths: ApiPaths = {
  schemas: { Session: schemaOf(sessionAnswer) },
  paths: {
    '/session': {
      get: {
        operationId: 'getSession',
        summary: 'Who is signed in in this browser, and in which groups',
        security: ['session', 'nobody'],
        responses: {
          200: jsonAnswer('The person, or that nobody is signed in.', 'Session', { signedIn: false }),
          503: commonAnswers.unavailable,
        },
      },
    },
  },
}
