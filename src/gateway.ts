import { once } from 'node:events'
import { createServer } from 'node:http'
import { getRequestListener } from '@hono/node-server'
import { Hono, type Context, type MiddlewareHandler } from 'hono'
import { HTTPException } from 'hono/http-exception'
import { routePath } from 'hono/route'
import { secureHeaders } from 'hono/secure-headers'
import type { Logger } from 'pino'
import type { Database } from '../db/client.ts'
import { listLatestResyncs, listShownResyncs } from '../db/resync-lists.ts'
import type { StoredResync } from '../db/resyncs.ts'
import { endSessionsAt, endSessionsOfPerson } from '../db/sessions.ts'
import { findWantedClaims } from '../db/token-states.ts'
import { adminBoard, type BoardQueue } from './admin/board.ts'
import type { VerifyCaller } from './api/callers.ts'
import { groups } from './api/groups.ts'
import { groupsPaths } from './api/groups-paths.ts'
import { loginEvents } from './api/login-events.ts'
import { loginEventsPaths } from './api/login-events-paths.ts'
import { notifications } from './api/notifications.ts'
import { notificationsPaths } from './api/notifications-paths.ts'
import { ConfigInvalid } from './errors.ts'
import { health, healthPaths } from './health.ts'
import { createIssuer, type IssuerParts } from './issuer/issuer.ts'
import { issuerPaths } from './issuer/issuer-paths.ts'
import { reportedUserOf, type LoginReported } from './login/signed-in-user.ts'
import { oauthSource } from './login/oauth-source.ts'
import { createPendingSignIns } from './login/oauth-state.ts'
import { openApiDocument } from './openapi.ts'
import { problemPage } from './page.ts'
import { pageStyle } from './page-style.ts'
import { sessionRoutes } from './login/session-routes.ts'
import { createSessions, sessionCookieName, type Session } from './login/session.ts'
import { sessionPaths } from './login/session-paths.ts'
import type { SignInSource } from './login/sign-in-source.ts'
import type { NamedKey } from './setting-shapes.ts'
import { takesTenant, type SourceConfig } from './source-config.ts'
import { secondsLeft } from './resync.ts'
import { readSourceStatus } from './source-status.ts'

export type GatewayParts = {
  /** An origin: the gateway is served at the root of its host. */
  publicUrl: string
  /** By slug, in the order they are offered in. */
  sources: ReadonlyMap<string, SignInSource>
  sessionKeys: readonly NamedKey[]
  /** See {@link Config}. */
  session: { idleSeconds: number; lifeSeconds: number }
  /** Of the keys that open stored tokens. */
  tokenKeyIds: readonly string[]
  apiKeys: readonly string[]
  /** What gives local tokens needs; undefined where there is no application to give one for. */
  issuer: Omit<IssuerParts, 'readSession' | 'sessionHolds'> | undefined
  /** Who a local token belongs to. Default: whom the issuer has given it to; without one, nobody. */
  verifyCaller?: VerifyCaller
  /** Undefined closes `/admin`. */
  adminPassword: string | undefined
  db: Database
  loginSucceeded: LoginReported
  /** Has a person read anew; false where the queue didn't take the job. */
  syncNow: (session: Session) => Promise<boolean>
  /** What the board shows: BullMQ queues of either backend. */
  queues: readonly BoardQueue[]
  log: Logger
}

const pagePolicy = (authorities: readonly string[]) => ({
  defaultSrc: ["'none'"],
  styleSrc: ["'self'"],
  imgSrc: ["'self'", 'data:'],
  // Browsers follow the redirect of a form only where this allows it: signing out goes on at Entra.
  formAction: ["'self'", ...authorities],
  baseUri: ["'none'"],
  frameAncestors: ["'none'"],
})

/**
 * The HTTP app, a function of Request: it opens nothing, and its parts are closed by who opened them.
 * @throws {ConfigInvalid} for a public URL with a path.
 */
export function createGateway(parts: GatewayParts): Hono {
  const { publicUrl, sessionKeys, sources, log, db } = parts
  const configs = [...sources.values()].map(({ config }) => config)
  if (new URL(publicUrl).pathname !== '/') {
    throw new ConfigInvalid([
      { setting: 'PUBLIC_URL', message: 'must have no path: the gateway serves the root of its host' },
    ])
  }
  const secure = publicUrl.startsWith('https:')
  const sessions = createSessions({
    db,
    sessionKeys,
    secure,
    lifeSeconds: parts.session.lifeSeconds,
    rules: { idleSeconds: parts.session.idleSeconds, requiredGroups: requiredGroupsOf(configs) },
    accepts: ({ source: slug, tenantId }) => {
      const config = sources.get(slug)?.config
      return config !== undefined && config.enabled && takesTenant(config, tenantId)
    },
  })
  const pendingSignIns = createPendingSignIns({ sessionKeys, secure })

  const app = new Hono()
  app.use(accessLog(log))
  app.use(
    secureHeaders({
      contentSecurityPolicy: pagePolicy([
        ...new Set(configs.map(({ authorityHost }) => new URL(authorityHost).origin)),
      ]),
      xFrameOptions: 'DENY',
      // With no-referrer browsers send "Origin: null" on our own forms, and sign-out needs the origin.
      referrerPolicy: 'same-origin',
      strictTransportSecurity: secure && 'max-age=15552000',
      overwrite: false,
    }),
  )
  app.use(notStored)

  app.route('/', health(db))
  const document = describedRoutes(parts, configs)
  app.get('/openapi.json', (c) => c.json(document, 200, { 'Cache-Control': 'public, max-age=300' }))
  app.get('/style.css', (c) =>
    c.body(pageStyle, 200, {
      'Content-Type': 'text/css; charset=utf-8',
      'Cache-Control': 'public, max-age=300',
    }),
  )
  const { syncNow, tokenKeyIds } = parts
  app.route('/', sessionRoutes({ publicUrl, sources, sessions, db, tokenKeyIds, syncNow, log }))
  app.route(
    '/source/oauth',
    oauthSource({
      publicUrl,
      sources,
      pendingSignIns,
      sessions,
      wantedClaims: (slug, tenantId, objectId) => findWantedClaims(db, tenantId, objectId, slug),
      endSessionsAt: (slug, entraSession) => endSessionsAt(db, slug, entraSession),
      endSessionsOfPerson: (person) => endSessionsOfPerson(db, person),
      log,
    }),
  )
  const { read: readSession, holds: sessionHolds } = sessions
  const issuer = parts.issuer && createIssuer({ ...parts.issuer, readSession, sessionHolds })
  if (issuer) app.route('/', issuer.routes)
  app.route('/v1', apiRoutes({ verifyCaller: issuer?.verifyCaller ?? nobody, ...parts }, configs))
  if (parts.adminPassword !== undefined) {
    const { adminPassword: password, queues } = parts
    const sourceStatus = async () => await readSourceStatus(db, { sources: configs, publicUrl })
    const resyncs = {
      list: async (limit: number, before?: string) => await listShownResyncs(db, limit, before),
      latest: async () => await listLatestResyncs(db),
      secondsLeft: (resync: StoredResync) => secondsLeft(resync, Date.now()),
    }
    app.route('/admin', adminBoard({ password, publicUrl, queues, sourceStatus, resyncs, log }))
  }

  app.notFound((c) => notFound(c))
  app.onError((error, c) => failed(log, error, c))
  return app
}

const nobody: VerifyCaller = async () => undefined

/** What programs ask for, each with a key, a token or a secret of its own. */
function apiRoutes(
  parts: GatewayParts & { verifyCaller: VerifyCaller },
  configs: readonly SourceConfig[],
): Hono {
  const { db, apiKeys, verifyCaller, loginSucceeded, log } = parts
  const app = new Hono()
  app.route('/', loginEvents({ user: reportedUserOf(configs), loginSucceeded, apiKeys, log }))
  app.route('/', notifications({ db, log }))
  app.route('/', groups({ db, apiKeys, verifyCaller, log }))
  return app
}

/** The document of all routes that are for programs. */
function describedRoutes({ publicUrl, issuer }: GatewayParts, configs: readonly SourceConfig[]) {
  return openApiDocument({
    publicUrl,
    sessionCookie: sessionCookieName(publicUrl.startsWith('https:')),
    parts: [
      groupsPaths,
      loginEventsPaths(reportedUserOf(configs)),
      notificationsPaths,
      sessionPaths,
      ...(issuer ? [issuerPaths] : []),
      healthPaths,
    ],
  })
}

/** By source, where its people must be in one of them for as long as they are signed in. */
function requiredGroupsOf(sources: readonly SourceConfig[]): Record<string, readonly string[]> {
  return Object.fromEntries(
    sources.flatMap(({ slug, signUp }) => (signUp.policy === 'members' ? [[slug, signUp.groupIds]] : [])),
  )
}

/** The route's pattern, never the address: a callback's query carries a code. */
function accessLog(log: Logger): MiddlewareHandler {
  return async (c, next) => {
    const began = performance.now()
    await next()
    const ms = Math.round(performance.now() - began)
    log.debug({ method: c.req.method, route: routePath(c, -1), status: c.res.status, ms }, 'request')
  }
}

/** Pages and answers about a person stay out of every cache, unless the route says otherwise. */
const notStored: MiddlewareHandler = async (c, next) => {
  await next()
  const isBoardFile = c.req.path.startsWith('/admin/queues/static/')
  if (!isBoardFile && !c.res.headers.has('Cache-Control')) c.res.headers.set('Cache-Control', 'no-store')
}

const speaksJson = (c: Context) =>
  /^\/(v1|session|application|healthz|readyz|openapi\.json)(\/|$)/.test(c.req.path)

async function notFound(c: Context): Promise<Response> {
  if (speaksJson(c)) return c.json({ error: 'not_found' }, 404)
  return c.html(await problemPage({ title: 'Not found', advice: 'There is nothing at this address.' }), 404)
}

async function failed(log: Logger, error: Error, c: Context): Promise<Response> {
  if (error instanceof HTTPException) return error.getResponse()
  // Neither message nor stack: those of drivers carry parameters.
  log.error(
    { error: error.name, code: 'code' in error ? error.code : undefined, route: routePath(c, -1) },
    'request failed',
  )
  if (speaksJson(c)) return c.json({ error: 'internal' }, 500)
  const advice = 'Something went wrong on our side. Try again in a minute.'
  return c.html(await problemPage({ title: 'That didn’t work', advice }), 500)
}

export type Listening = {
  url: string
  port: number
  /** Stops accepting and waits for running requests, up to `graceMs`; then cuts them off. */
  close: () => Promise<void>
}

/**
 * Serves an app; port 0 takes any free one.
 * @throws {ConfigInvalid} naming PORT when the port can't be had, HOST when the address isn't this machine's.
 */
export async function listen(
  app: Hono,
  options: { port: number; host: string; graceMs?: number },
): Promise<Listening> {
  const { port, host, graceMs = 10_000 } = options
  const serve = getRequestListener(app.fetch)
  const server = createServer((incoming, outgoing) => void serve(incoming, outgoing))
  server.listen(port, host)
  try {
    await once(server, 'listening')
  } catch (error) {
    throw listenFailure(error, port, host)
  }
  const address = server.address()
  const bound = typeof address === 'object' && address !== null ? address.port : port
  const shown = ['0.0.0.0', '::'].includes(host) ? 'localhost' : host.includes(':') ? `[${host}]` : host
  let closed: Promise<void> | undefined
  const close = async () => {
    const end = once(server, 'close')
    server.close()
    const cutOff = setTimeout(() => server.closeAllConnections(), graceMs)
    await end
    clearTimeout(cutOff)
  }
  // A kept-alive connection is idle, and can go, only once its last answer is out; server.close came too early for it.
  server.on('request', (_incoming, outgoing) => {
    outgoing.once('close', () => closed && setImmediate(() => server.closeIdleConnections()))
  })
  return { url: `http://${shown}:${bound}`, port: bound, close: () => (closed ??= close()) }
}

function listenFailure(error: unknown, port: number, host: string): ConfigInvalid {
  const code = error instanceof Error && 'code' in error ? String(error.code) : 'unknown'
  if (code !== 'EADDRINUSE' && code !== 'EACCES') {
    const message = `${host} can't be listened on (${code}); set HOST to an address of this machine, or to 0.0.0.0 for all`
    return new ConfigInvalid([{ setting: 'HOST', message }])
  }
  const why = code === 'EADDRINUSE' ? 'is taken by another program' : `can't be listened on (${code})`
  return new ConfigInvalid([
    { setting: 'PORT', message: `port ${port} of ${host} ${why}; set PORT to a free one` },
  ])
}
