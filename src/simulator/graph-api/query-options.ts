import { badRequest } from './errors.ts'

/** The OData query options of one request, read but not yet judged. */
export type QueryOptions = {
  select: readonly string[] | undefined
  top: number | undefined
  count: boolean
  filter: string | undefined
  search: string | undefined
  orderBy: string | undefined
  expand: string | undefined
  skipToken: string | undefined
  deltaToken: string | undefined
  /** Whether the request carries `Prefer: return=minimal`. */
  minimal: boolean
  /** Whether the request carries `ConsistencyLevel: eventual`. */
  eventual: boolean
}

export const defaultPageSize = 100
export const maxPageSize = 999

/** Reads the options; names are matched without regard to case, as Graph does. */
export function readQueryOptions(
  query: URLSearchParams,
  headers: Readonly<Record<string, string>>,
): QueryOptions {
  const options = new Map<string, string>()
  for (const [name, value] of query) options.set(name.toLowerCase(), value)
  return {
    select: readList(options.get('$select')),
    top: readTop(options.get('$top')),
    count: options.get('$count')?.toLowerCase() === 'true',
    filter: options.get('$filter'),
    search: options.get('$search'),
    orderBy: options.get('$orderby'),
    expand: options.get('$expand'),
    skipToken: options.get('$skiptoken'),
    deltaToken: options.get('$deltatoken'),
    minimal: /\breturn=minimal\b/i.test(headers['prefer'] ?? ''),
    eventual: headers['consistencylevel']?.toLowerCase() === 'eventual',
  }
}

function readList(value: string | undefined): readonly string[] | undefined {
  const names = value?.split(',').flatMap((name) => name.trim() || [])
  return names === undefined || names.length === 0 ? undefined : names
}

/** Sizes out of range are refused rather than clamped, as captured from directory collections. */
function readTop(value: string | undefined): number | undefined {
  if (value === undefined) return undefined
  if (!/^-?\d+$/.test(value.trim()))
    throw badRequest(
      `Invalid value '${value}' for $top query option found. The $top query option requires a non-negative integer value.`,
      'BadRequest',
    )
  const top = Number(value)
  if (top >= 1 && top <= maxPageSize) return top
  const message = `Invalid page size specified: '${value.trim()}'. Must be between 1 and ${maxPageSize} inclusive.`
  throw badRequest(message, 'Request_UnsupportedQuery')
}
