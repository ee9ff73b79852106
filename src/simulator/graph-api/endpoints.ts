import type { FaultSubject } from '../faults.ts'
import { findUser } from '../directory/store.ts'
import type { HttpAnswer, HttpRequest } from '../http.ts'
import { accessOf } from './access.ts'
import { answerBatch } from './batch.ts'
import type { GraphReply, GraphTenant } from './call.ts'
import { decodeDeltaToken } from './delta-token.ts'
import { badRequest, errorBody, GraphRefusal, invalidToken } from './errors.ts'
import { decodePageToken } from './page-token.ts'
import { resourceUnits } from './costs.ts'
import { readQueryOptions } from './query-options.ts'
import { route } from './routes.ts'

const jsonType =
  'application/json;odata.metadata=minimal;odata.streaming=true;IEEE754Compatible=false;charset=utf-8'
const version = '/v1.0'

/** Answers one request of a batch through the same faults and log as a request of its own. */
export type AnswerInner = (request: HttpRequest) => Promise<HttpAnswer>

/** Answers a request to Graph, `$batch` included; refusals become Graph's error bodies. */
export async function answerGraph(
  tenant: GraphTenant,
  request: HttpRequest,
  answerInner: AnswerInner,
): Promise<HttpAnswer> {
  const ids = {
    requestId: crypto.randomUUID(),
    clientRequestId: request.headers['client-request-id'] ?? crypto.randomUUID(),
  }
  const segments = segmentsOf(request.path)
  let units = resourceUnits(operationOf(segments ?? []), undefined)
  let reply: GraphReply
  let extra: Readonly<Record<string, string>> = {}
  try {
    const access = accessOf(tenant, request.headers['authorization'])
    if (!segments) throw badRequest(`Invalid version: ${request.path.split('/')[1] ?? ''}`, 'BadRequest')
    if (segments[0] === '$batch') reply = await answerBatch(request, answerInner, tenant.throttling)
    else {
      const options = readQueryOptions(request.query, request.headers)
      const { baseUrl, method, path, query, body } = request
      if (access.userId !== undefined && !tenant.directory.users.get(access.userId))
        throw invalidToken('The identity of the calling user could not be found.')
      units = resourceUnits(operationOf(segments), options)
      extra = tenant.throttling.admit(access.appId, units, request.headers['x-ms-throttle-priority'])
      const seen = options.eventual ? { ...tenant, directory: tenant.index() } : tenant
      reply = await route({ tenant: seen, baseUrl, method, path, query, body, options, access }, segments)
    }
  } catch (error) {
    if (!(error instanceof GraphRefusal)) throw error
    extra = { ...extra, ...error.headers }
    reply = { status: error.status, type: 'json', body: errorBody(error, ids, new Date(tenant.now())) }
  }
  const headers: Record<string, string> = {
    'cache-control': 'no-cache',
    'request-id': ids.requestId,
    'client-request-id': ids.clientRequestId,
    'odata-version': '4.0',
    'x-ms-ags-diagnostic':
      '{"ServerInfo":{"DataCenter":"Loopback","Slice":"E","Ring":"0","ScaleUnit":"000","RoleInstance":"SIMULATOR"}}',
    'x-ms-resource-unit': String(units),
    ...extra,
  }
  if (reply.type !== 'none') headers['content-type'] = reply.type === 'json' ? jsonType : 'text/plain'
  return { status: reply.status, headers, body: reply.body }
}

/** What faults are matched against: the page of a paged collection, and the users the request is about. */
export function describeGraphRequest(tenant: GraphTenant, request: HttpRequest): FaultSubject {
  const segments = segmentsOf(request.path) ?? []
  const users = new Set<string>()
  const add = (key: string): void => {
    const user = findUser(tenant.directory, key)
    users.add(key.toLowerCase())
    if (user) users.add(user.id).add(user.userPrincipalName.toLowerCase())
  }
  const bearer = tenant.tokens.readAccessToken(
    /^bearer +(\S+)$/i.exec(request.headers['authorization'] ?? '')?.[1] ?? '',
  )
  if (bearer.state === 'valid') add(bearer.claims.oid)
  if (segments[0] === 'users' && segments[1] !== undefined) add(segments[1])
  const { origin, method, path } = request
  return { origin, method, path, page: pageOf(segments, request.query), users: [...users] }
}

const pagedProperties = new Set(['memberOf', 'transitiveMemberOf', 'members', 'transitiveMembers'])

function pageOf(segments: readonly string[], query: URLSearchParams): number | undefined {
  if (segments.at(-1) === 'delta') {
    const link = query.get('$skiptoken') ?? query.get('$deltatoken') ?? ''
    return decodeDeltaToken(link)?.page ?? 1
  }
  const list = segments.length === 1 && (segments[0] === 'users' || segments[0] === 'groups')
  const paged =
    list || (segments.some((segment) => pagedProperties.has(segment)) && segments.at(-1) !== '$count')
  if (!paged) return undefined
  const token = query.get('$skiptoken')
  if (token === null) return 1
  try {
    return decodePageToken(token).page
  } catch {
    return undefined
  }
}

/** The part of a path its cost depends on: the last property or action, casts and counts left aside. */
function operationOf(segments: readonly string[]): string {
  const named = segments.filter(
    (segment) => segment !== '$count' && !/^microsoft\.graph\.(?!get|check)/.test(segment),
  )
  if (named[0] === 'users' && named.length > 1 && named.length < 3) return 'user'
  return (named.at(-1) ?? '').replace(/^microsoft\.graph\./, '')
}

/** Path segments after the version, decoded; undefined outside of it. */
function segmentsOf(path: string): string[] | undefined {
  if (path !== version && !path.startsWith(`${version}/`)) return undefined
  try {
    return path
      .slice(version.length + 1)
      .split('/')
      .map(decodeURIComponent)
      .filter((segment) => segment !== '')
  } catch {
    return undefined
  }
}
