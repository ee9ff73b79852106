import { Hono } from 'hono'
import { z } from 'zod'
import type { Database } from '../db/client.ts'
import { databaseAnswers } from '../db/reachable.ts'
import { jsonAnswer, schemaOf, type ApiPaths } from './openapi.ts'

const alive = z.object({ ok: z.literal(true) })
const readiness = z.object({ ok: z.boolean(), database: z.boolean() })

/** For whoever starts and watches processes: does it live, and can it do its work? */
export function health(db: Database): Hono {
  const app = new Hono()
  app.get('/healthz', (c) => c.json({ ok: true } satisfies z.output<typeof alive>))
  app.get('/readyz', async (c) => {
    const database = await databaseAnswers(db)
    return c.json({ ok: database, database } satisfies z.output<typeof readiness>, database ? 200 : 503)
  })
  return app
}

export const healthPaths: ApiPaths = {
  schemas: { Alive: schemaOf(alive), Readiness: schemaOf(readiness) },
  paths: {
    '/healthz': {
      get: {
        operationId: 'getHealth',
        summary: 'Does the process live?',
        security: [],
        responses: { 200: jsonAnswer('It does.', 'Alive', { ok: true }) },
      },
    },
    '/readyz': {
      get: {
        operationId: 'getReadiness',
        summary: 'Does it reach the database?',
        security: [],
        responses: {
          200: jsonAnswer('It does.', 'Readiness', { ok: true, database: true }),
          503: jsonAnswer('It doesn’t.', 'Readiness', { ok: false, database: false }),
        },
      },
    },
  },
}
