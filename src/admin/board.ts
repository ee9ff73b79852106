import { createBullBoard } from '@bull-board/api'
import { BullMQAdapter } from '@bull-board/api/bullMQAdapter'
import { HonoAdapter } from '@bull-board/hono'
import { serveStatic } from '@hono/node-server/serve-static'
import { Queue } from 'bullmq'
import { Hono } from 'hono'
import { basicAuth } from 'hono/basic-auth'
import { secureHeaders } from 'hono/secure-headers'
import type { Logger } from 'pino'
import { z } from 'zod'
import type { LatestResync } from '../../db/resync-lists.ts'
import type { StoredResync } from '../../db/resyncs.ts'
import type { SourceStatus } from '../source-status.ts'
import { sourceMetrics } from './metrics.ts'
import { redactDeep, redactText, showKnownFields } from './redact.ts'
import { resyncsPage } from './resyncs-page.ts'
import { sourcesPage } from './sources-page.ts'

/** A BullMQ queue of either backend; the types of the two have nothing closer in common. */
export type BoardQueue = { readonly name: string }

export type AdminBoardParts = {
  /** Of the user `admin`. */
  password: string
  publicUrl: string
  queues: readonly BoardQueue[]
  sourceStatus: () => Promise<readonly SourceStatus[]>
  resyncs: {
    /** The latest first, from the one after an id on. */
    list: (limit: number, before?: string) => Promise<readonly StoredResync[]>
    /** The latest of each source and mode. */
    latest: () => Promise<readonly LatestResync[]>
    secondsLeft: (resync: StoredResync) => number | undefined
  }
  log: Logger
}

type BoardHooks = NonNullable<NonNullable<Parameters<typeof createBullBoard>[0]['options']>['handlerHooks']>

const boardPath = '/admin/queues'

/**
 * bull-board's bundle sets inline style attributes and nothing else that a strict policy refuses. Its page also names a
 * font at fonts.googleapis.com, which this policy keeps from being fetched.
 */
const boardPolicy = {
  defaultSrc: ["'none'"],
  scriptSrc: ["'self'"],
  styleSrc: ["'self'", "'unsafe-inline'"],
  imgSrc: ["'self'", 'data:'],
  fontSrc: ["'self'", 'data:'],
  connectSrc: ["'self'"],
  baseUri: ["'self'"],
  formAction: ["'none'"],
  frameAncestors: ["'none'"],
}

/**
 * The pages of `/admin` behind basic authentication: bull-board, showing ids and redacted causes only, how the sources do, and
 * the same for Prometheus.
 */
export function adminBoard(parts: AdminBoardParts): Hono {
  const { password, publicUrl, queues, sourceStatus, resyncs, log } = parts
  const server = new HonoAdapter(serveStatic)
  server.setBasePath(boardPath)
  createBullBoard({
    queues: queues.map(adapterFor),
    serverAdapter: server,
    options: {
      uiConfig: { boardTitle: 'entra-group-sync', hideDocsLink: true },
      handlerHooks: boardHooks(new URL(publicUrl).origin),
    },
  })
  // bull-board answers a thrown error with its message, which no hook sees.
  server.setErrorHandler((error) => {
    log.error({ error: error.name, message: redactText(error.message) }, 'bull-board failed')
    return { status: 500, body: { error: { key: 'ERRORS.INTERNAL_SERVER_ERROR' } } }
  })

  const app = new Hono()
  app.use(basicAuth({ username: 'admin', password, realm: 'entra-group-sync admin' }))
  app.get('/sources', async (c) => c.html(await sourcesPage(await sourceStatus())))
  app.get('/resyncs', async (c) => {
    const before = c.req.query('before')
    if (before !== undefined && !isUuid(before)) return c.notFound()
    const [shown, more] = [20, 1]
    const found = await resyncs.list(shown + more, before)
    return c.html(await resyncsPage(found.slice(0, shown), resyncs.secondsLeft, found.length > shown))
  })
  app.get('/metrics', async (c) => {
    const { text, contentType } = await sourceMetrics(await sourceStatus(), await resyncs.latest())
    return c.body(text, 200, { 'Content-Type': contentType })
  })
  app.use(secureHeaders({ contentSecurityPolicy: boardPolicy, strictTransportSecurity: false }))
  app.get('/', (c) => c.redirect(boardPath))
  app.route('/queues', server.registerPlugin())
  return app
}

const isUuid = (text: string) => z.uuid().safeParse(text).success

function adapterFor(queue: BoardQueue): BullMQAdapter {
  if (!(queue instanceof Queue)) throw new TypeError(`${queue.name} is not a BullMQ queue`)
  const adapter = new BullMQAdapter(queue)
  adapter.setFormatter('data', showKnownFields)
  adapter.setFormatter('returnValue', showKnownFields)
  adapter.setFormatter('progress', (progress: unknown) =>
    typeof progress === 'number' ? progress : showKnownFields(progress),
  )
  return adapter
}

/** Formatters don't reach failure reasons, stack traces and logs; the hook after every handler does. */
function boardHooks(origin: string): BoardHooks {
  return {
    before: ({ method, route, request }) => {
      if (method === 'get') return { allow: true }
      const { 'sec-fetch-site': site, origin: from } = request.headers
      // Browsers send basic credentials with cross-site requests too.
      if (site !== 'same-origin' && from !== origin) return { allow: false, status: 403 }
      // What the board shows of a job is not what is stored, and hand-made jobs bypass the catalogue.
      const edits = route.endsWith('/update-data') || route.endsWith('/add')
      return edits
        ? { allow: false, status: 403, message: 'Jobs are made by the product only.' }
        : { allow: true }
    },
    after: (_context, result) => {
      const body = redactDeep(result.body)
      return { ...result, body: isBody(body) ? body : {} }
    },
  }
}

const isBody = (value: unknown): value is string | Record<string, unknown> =>
  typeof value === 'string' || (typeof value === 'object' && value !== null)
