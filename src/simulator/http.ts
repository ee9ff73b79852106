import type { IncomingMessage, Server, ServerResponse } from 'node:http'
import { createServer as createHttpServer } from 'node:http'
import { createServer as createHttpsServer } from 'node:https'
import { once } from 'node:events'
import { deliver } from './delivery.ts'
import type { Delivery } from './faults.ts'

/** Which of the two stand-ins a request came to: the authority host or Microsoft Graph. */
export type Origin = 'entra' | 'graph'

/** One request, read to its end, as both stand-ins see it. */
export type HttpRequest = {
  origin: Origin
  /** Scheme and host as the client asked for them: what links and issuers in the answer start with. */
  baseUrl: string
  method: string
  /** Without the query, still percent-encoded. */
  path: string
  query: URLSearchParams
  /** The query as it was sent, without the question mark. */
  rawQuery: string
  /** Names in lower case. */
  headers: Readonly<Record<string, string>>
  body: string
}

export type HttpAnswer = { status: number; headers: Readonly<Record<string, string>>; body: string }

export type Handler = (request: HttpRequest) => Promise<{ answer: HttpAnswer; delivery?: Delivery }>

export type Listener = { port: number; close(): Promise<void> }

const maxBodyBytes = 4 * 1024 * 1024

/** Listens with one handler; with `tls` over https. `port` 0 takes any free port. */
export async function listen(options: {
  origin: Origin
  host: string
  port: number
  tls?: { key: string; cert: string }
  handler: Handler
}): Promise<Listener> {
  const scheme = options.tls ? 'https' : 'http'
  const onRequest = (incoming: IncomingMessage, outgoing: ServerResponse): void => {
    void serve(options.origin, scheme, options.handler, incoming, outgoing)
  }
  const server = options.tls ? createHttpsServer(options.tls, onRequest) : createHttpServer(onRequest)
  server.listen(options.port, options.host)
  await once(server, 'listening')
  const address = server.address()
  if (address === null || typeof address === 'string') throw new Error('the simulator needs a TCP port')
  return { port: address.port, close: () => closeServer(server) }
}

async function closeServer(server: Server): Promise<void> {
  const closed = once(server, 'close')
  server.close()
  server.closeAllConnections()
  await closed
}

async function serve(
  origin: Origin,
  scheme: string,
  handler: Handler,
  incoming: IncomingMessage,
  outgoing: ServerResponse,
): Promise<void> {
  try {
    const request = await readRequest(origin, scheme, incoming)
    const { answer, delivery } = await handler(request)
    await deliver(outgoing, answer, delivery ?? {}, request.method === 'HEAD')
  } catch (error) {
    // Either the client went away, or the simulator has a bug that must be seen rather than hang a client.
    if (outgoing.destroyed || outgoing.headersSent) return
    outgoing.writeHead(500, { 'content-type': 'text/plain' })
    outgoing.end(
      `simulator error: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}`,
    )
  }
}

async function readRequest(origin: Origin, scheme: string, incoming: IncomingMessage): Promise<HttpRequest> {
  const headers: Record<string, string> = {}
  for (const [name, value] of Object.entries(incoming.headers))
    if (value !== undefined) headers[name] = Array.isArray(value) ? value.join(', ') : value

  const target = incoming.url ?? '/'
  const mark = target.indexOf('?')
  const rawQuery = mark < 0 ? '' : target.slice(mark + 1)
  const chunks: Buffer[] = []
  let size = 0
  for await (const chunk of incoming) {
    const bytes = Buffer.from(chunk)
    size += bytes.length
    if (size > maxBodyBytes) throw new Error('request body too large')
    chunks.push(bytes)
  }
  return {
    origin,
    baseUrl: `${scheme}://${headers['host'] ?? 'localhost'}`,
    method: incoming.method ?? 'GET',
    path: mark < 0 ? target : target.slice(0, mark),
    query: new URLSearchParams(rawQuery),
    rawQuery,
    headers,
    body: Buffer.concat(chunks).toString('utf8'),
  }
}
