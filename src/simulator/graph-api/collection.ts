import type { DirectoryObject, ObjectType } from '../directory/objects.ts'
import { mayReadProperties } from './access.ts'
import type { GraphCall, GraphReply } from './call.ts'
import { badRequest, expiredPageToken, unsupportedQuery } from './errors.ts'
import { idsNamedBy, parseFilter, parseSearch } from './filter.ts'
import { decodePageToken, encodePageToken } from './page-token.ts'
import { defaultPageSize, type QueryOptions } from './query-options.ts'
import { assertSelectable, contextUrl, objectWriter } from './rendering.ts'

/** A set of directory objects that a path names, before query options narrow it. */
export type Collection = {
  /** Sorted by id: pages are cut in this order, so that changes between pages neither skip nor repeat others. */
  ids: readonly string[]
  find(id: string): DirectoryObject | undefined
  /** The entity set in the context URL. */
  set: string
  /** The type of an OData cast. */
  cast: ObjectType | undefined
  /** Leaves objects out; undefined when all ids count, which spares walking them. */
  visible: ((object: DirectoryObject) => boolean) | undefined
  /** Whether the declared type is directoryObject, so that each object says what it is. */
  typed: boolean
  /** Whether even a plain OData cast is an advanced query, as on memberOf and transitiveMemberOf. */
  advancedCast: boolean
}

/** Answers a page of the collection, or its number for a `/$count` path. */
export function answerCollection(call: GraphCall, whole: Collection, countSegment: boolean): GraphReply {
  const { options } = call
  const collection = narrowed(whole, options.filter)
  const pageToken = options.skipToken === undefined ? undefined : decodePageToken(options.skipToken)
  if (pageToken?.advanced === true && !options.eventual) throw expiredPageToken()
  assertConsistency(options, collection, countSegment)
  const keep = predicateOf(collection, options)
  if (countSegment) return { status: 200, type: 'text/plain', body: String(countAll(collection, keep)) }

  const advanced = options.eventual && isAdvanced(options, collection)
  const size = options.top ?? defaultPageSize
  const { objects, next } = cutPage(collection, keep, options, pageToken?.after, size)
  assertSelectable(collection.typed ? undefined : objects[0], options.select)

  const write = objectWriter({ select: options.select, typed: collection.typed })
  const values = objects.map((object) => write(object, !mayReadProperties(call.access, object)))
  const parts = [
    `"@odata.context":${JSON.stringify(contextUrl(call.baseUrl, collection.set, options.select))}`,
  ]
  if (options.count && options.eventual && pageToken === undefined)
    parts.push(`"@odata.count":${countAll(collection, keep)}`)
  if (next !== undefined) {
    const token = encodePageToken({ after: next, page: (pageToken?.page ?? 1) + 1, advanced })
    parts.push(`"@odata.nextLink":${JSON.stringify(nextLink(call, token))}`)
  }
  return { status: 200, type: 'json', body: `{${parts.join(',')},"value":[${values.join(',')}]}` }
}

/** Without the objects that the filter can't mean: a tenant has many, and the index of ids knows these. */
function narrowed(collection: Collection, filter: string | undefined): Collection {
  const named = filter === undefined ? undefined : idsNamedBy(filter)
  if (!named) return collection
  const { ids } = collection
  return { ...collection, ids: named.filter((id) => ids[firstAfter(ids, id) - 1] === id) }
}

/** The rules of Graph docs: aad-advanced-queries, with the errors it documents; `$count=true` alone is ignored. */
function assertConsistency(options: QueryOptions, collection: Collection, countSegment: boolean): void {
  if (options.expand !== undefined && options.eventual) throw unsupportedQuery()
  if (!options.eventual) {
    if (countSegment) throw badRequest('$count is not currently supported.')
    if (options.search !== undefined)
      throw unsupportedQuery(
        "Request with $search query parameter only works through MSGraph with a special request header: 'ConsistencyLevel: eventual'",
      )
  }
  const needsAdvanced =
    (collection.advancedCast && (collection.cast !== undefined || options.filter !== undefined)) ||
    (collection.advancedCast && options.orderBy !== undefined) ||
    (options.filter !== undefined && options.orderBy !== undefined)
  if (needsAdvanced && !(options.eventual && (options.count || countSegment))) throw unsupportedQuery()
}

function isAdvanced(options: QueryOptions, collection: Collection): boolean {
  return (
    options.count ||
    options.search !== undefined ||
    options.orderBy !== undefined ||
    collection.cast !== undefined
  )
}

function predicateOf(
  { cast, visible }: Collection,
  { filter, search }: QueryOptions,
): ((object: DirectoryObject) => boolean) | undefined {
  const all = [
    ...(cast === undefined ? [] : [(object: DirectoryObject) => object['@odata.type'] === cast]),
    ...(visible === undefined ? [] : [visible]),
    ...(filter === undefined ? [] : [parseFilter(filter)]),
    ...(search === undefined ? [] : [parseSearch(search)]),
  ]
  return all.length === 0 ? undefined : (object) => all.every((keep) => keep(object))
}

type Keep = ReturnType<typeof predicateOf>

function countAll(collection: Collection, keep: Keep): number {
  if (!keep) return collection.ids.length
  let count = 0
  for (const id of collection.ids) {
    const object = collection.find(id)
    if (object && keep(object)) count += 1
  }
  return count
}

/** One page and, if more follow, the position of its last object. */
function cutPage(
  collection: Collection,
  keep: Keep,
  options: QueryOptions,
  after: string | undefined,
  size: number,
): { objects: DirectoryObject[]; next: string | undefined } {
  if (options.orderBy !== undefined) return cutOrdered(collection, keep, options.orderBy, after, size)
  const objects: DirectoryObject[] = []
  for (
    let index = after === undefined ? 0 : firstAfter(collection.ids, after);
    index < collection.ids.length;
    index++
  ) {
    const object = collection.find(collection.ids[index] ?? '')
    if (!object || (keep && !keep(object))) continue
    if (objects.length === size) return { objects, next: objects.at(-1)?.id }
    objects.push(object)
  }
  return { objects, next: undefined }
}

function cutOrdered(
  collection: Collection,
  keep: Keep,
  orderBy: string,
  after: string | undefined,
  size: number,
): { objects: DirectoryObject[]; next: string | undefined } {
  const direction = /^displayName(?: (asc|desc))?$/i.exec(orderBy.trim())
  if (!direction) throw unsupportedQuery()
  const sign = direction[1]?.toLowerCase() === 'desc' ? -1 : 1
  const all = collection.ids
    .flatMap((id) => collection.find(id) ?? [])
    .filter((object) => !keep || keep(object))
  const sorted = all.toSorted((a, b) => sign * (a.displayName ?? '').localeCompare(b.displayName ?? ''))
  const start = Number(after ?? 0)
  const end = start + size
  return { objects: sorted.slice(start, end), next: end < sorted.length ? String(end) : undefined }
}

/** The position of the first id that comes after this one. */
export function firstAfter(sorted: readonly string[], after: string): number {
  let low = 0
  let high = sorted.length
  while (low < high) {
    const middle = (low + high) >>> 1
    if ((sorted[middle] ?? '') <= after) low = middle + 1
    else high = middle
  }
  return low
}

/** Absolute, on the host that was asked, with the options of the first page. */
function nextLink(call: GraphCall, token: string): string {
  const options = [...call.query].filter(([name]) => name.toLowerCase() !== '$skiptoken')
  const written = [...options, ['$skiptoken', token] as const].map(
    ([name, value]) =>
      `${encodeURIComponent(name).replace('%24', '$')}=${encodeURIComponent(value).replaceAll('%2C', ',')}`,
  )
  return `${call.baseUrl}${call.path}?${written.join('&')}`
}
