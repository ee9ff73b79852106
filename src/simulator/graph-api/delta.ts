import { requirePermission } from './access.ts'
import type { GraphCall, GraphReply } from './call.ts'
import { cutChanges } from './delta-changes.ts'
import { cutFirstRound } from './delta-first-round.ts'
import { decodeDeltaToken, encodeDeltaToken, type DeltaToken } from './delta-token.ts'
import { badRequest, resyncRequired, syncStateNotFound, unsupportedQuery } from './errors.ts'
import { assertSelectable, contextUrl } from './rendering.ts'

/** Objects a `$filter` of a delta query may name (Graph docs: group-delta). */
const maxIds = 50
/** Relations that `$select` can name beside properties; the simulator knows no managers. */
const relations = new Set(['members', 'manager'])

/** One page of `users/delta` or `groups/delta` (Graph docs: delta-query-overview, delta-query-groups). */
export function answerDelta(call: GraphCall, set: DeltaToken['set']): GraphReply {
  requirePermission(call.access, set === 'users' ? 'usersDelta' : 'groupsDelta')
  const { top, orderBy, expand, search } = call.options
  if ([top, orderBy, expand, search].some((option) => option !== undefined)) throw unsupportedQuery()
  const { delta, now } = call.tenant
  const token = readToken(call, set)
  const link = (name: string, changes: Partial<DeltaToken>): string => {
    const next = { ...token, ...changes, issuedAt: now(), generation: delta.generation() }
    return `${call.baseUrl}${call.path}?${name}=${encodeDeltaToken(next)}`
  }
  const later = { round: 'changes', after: '', member: '', at: token.until, page: 1, empty: 0 } as const
  if (call.options.deltaToken === 'latest')
    return page(call, token, [], { '@odata.deltaLink': link('$deltatoken', later) })
  if (token.empty < delta.settings().emptyPages) {
    const same = { empty: token.empty + 1, page: token.page + 1 }
    return page(call, token, [], { '@odata.nextLink': link('$skiptoken', same) })
  }
  const cut = token.round === 'first' ? cutFirstRound(call, token) : cutChanges(call, token)
  const next = cut.next && { ...cut.next, empty: 0, page: token.page + 1 }
  return page(
    call,
    token,
    cut.entries,
    next
      ? { '@odata.nextLink': link('$skiptoken', next) }
      : { '@odata.deltaLink': link('$deltatoken', later) },
  )
}

function page(
  call: GraphCall,
  { set, select, page: number }: DeltaToken,
  value: readonly object[],
  link: Readonly<Record<string, string>>,
): GraphReply {
  const context = contextUrl(call.baseUrl, set, number === 1 ? select : undefined)
  return { status: 200, type: 'json', body: JSON.stringify({ '@odata.context': context, ...link, value }) }
}

/** What the link asks for; without one, or with an empty `$deltatoken`, a first round. */
function readToken(call: GraphCall, set: DeltaToken['set']): DeltaToken {
  const { delta, now } = call.tenant
  const directory = delta.directory()
  const { skipToken, deltaToken } = call.options
  const end = directory.journal.size()
  const given = skipToken ?? deltaToken ?? ''
  if (given === '' || given === 'latest') {
    const { select, filter } = call.options
    const [sample] = directory[set].values()
    assertSelectable(
      sample,
      select?.filter((name) => !relations.has(name.toLowerCase())),
    )
    return {
      set,
      ...(select ? { select: [...select] } : {}),
      ...(filter === undefined ? {} : { ids: readIds(filter) }),
      round: 'first',
      after: '',
      member: '',
      at: 0,
      until: end,
      page: 1,
      empty: 0,
      generation: delta.generation(),
      issuedAt: now(),
    }
  }
  const token = decodeDeltaToken(given)
  if (token?.set !== set) throw badRequest('Badly formed token.', 'BadRequest')
  const { tokenLifeMs, expired } = delta.settings()
  const reset = `${call.baseUrl}${call.path}?$deltatoken=`
  if (token.generation !== delta.generation()) throw resyncRequired(reset)
  if (token.issuedAt + tokenLifeMs <= now())
    throw expired === 'reset' ? resyncRequired(reset) : syncStateNotFound(expired)
  return skipToken === undefined ? { ...token, until: Math.max(end, token.at) } : token
}

/** The one filter delta queries of directory objects take: ids. */
function readIds(filter: string): string[] {
  const ids = filter.split(/ or /i).map((term) => {
    const id = /^id eq '([^']*)'$/i.exec(term.trim())?.[1]
    if (id === undefined) throw unsupportedQuery()
    return id.toLowerCase()
  })
  if (ids.length > maxIds) throw unsupportedQuery()
  return [...new Set(ids)].toSorted()
}
