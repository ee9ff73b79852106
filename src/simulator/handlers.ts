import type { EntraHost } from './entra/authority.ts'
import { answerEntra } from './entra/endpoints.ts'
import { faulty, type Delivery, type FaultSource, type FaultSubject } from './faults.ts'
import { tokenTenant } from './graph-api/access.ts'
import type { GraphTenant } from './graph-api/call.ts'
import { answerGraph, describeGraphRequest } from './graph-api/endpoints.ts'
import type { Handler, HttpAnswer, HttpRequest, Origin } from './http.ts'
import type { RequestRecorder } from './request-log.ts'

/**
 * Joins the two stand-ins with the log and the faults: every request, the inner ones of a batch included, is
 * recorded first and then answered truly or as a fault says.
 */
export function createHandlers(parts: {
  host: EntraHost
  /** At least one: the first also refuses tokens that are nobody's. */
  graphs: readonly [GraphTenant, ...GraphTenant[]]
  faults: FaultSource
  requests: RequestRecorder
}): Readonly<Record<Origin, Handler>> {
  const { host, graphs, faults, requests } = parts

  const respond = async (
    request: HttpRequest,
    describe: () => FaultSubject,
    make: () => Promise<HttpAnswer>,
    via?: '$batch',
  ): Promise<{ answer: HttpAnswer; delivery?: Delivery }> => {
    requests.record(request, via)
    const fault = faults.take(describe)
    if (!fault) return { answer: await make() }
    const url = `${request.baseUrl}${request.path}${request.rawQuery === '' ? '' : `?${request.rawQuery}`}`
    return { answer: await faulty(fault, { url }, make), delivery: fault }
  }
  const graphResponse = (request: HttpRequest, via?: '$batch'): ReturnType<typeof respond> => {
    const tenantId = tokenTenant(host.tokens, request.headers['authorization'])
    const graph = graphs.find(({ directory }) => directory.tenantId === tenantId) ?? graphs[0]
    return respond(
      request,
      () => describeGraphRequest(graph, request),
      () => answerGraph(graph, request, async (inner) => (await graphResponse(inner, '$batch')).answer),
      via,
    )
  }
  return {
    entra: (request) =>
      respond(
        request,
        () => describeEntraRequest(request),
        () => answerEntra(host, request),
      ),
    graph: (request) => graphResponse(request),
  }
}

function describeEntraRequest({ origin, method, path, query }: HttpRequest): FaultSubject {
  const hint = query.get('login_hint')
  return { origin, method, path, page: undefined, users: hint === null ? [] : [hint.toLowerCase()] }
}
