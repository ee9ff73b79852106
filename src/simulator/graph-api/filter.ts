import type { DirectoryObject } from '../directory/objects.ts'
import { badRequest, unsupportedQuery } from './errors.ts'

type Predicate = (object: DirectoryObject) => boolean

const booleans = new Set(['securityEnabled', 'mailEnabled', 'accountEnabled', 'isAssignableToRole'])
const strings = new Set([
  'id',
  'displayName',
  'mail',
  'mailNickname',
  'userPrincipalName',
  'userType',
  'visibility',
])

/**
 * The part of `$filter` that readers of memberships use: comparisons joined by `and`. Everything else is refused
 * as Graph refuses a property without an index. Objects with limited information are judged by their true values.
 */
export function parseFilter(filter: string): Predicate {
  const terms = splitAnd(filter).map(parseTerm)
  return (object) => terms.every((term) => term(object))
}

/** The ids that a filter asks for by name, sorted, so that a reader need not walk everything else; undefined where it names none. */
export function idsNamedBy(filter: string): readonly string[] | undefined {
  const lists = splitAnd(filter).flatMap((term) => idList.exec(term)?.[1] ?? [])
  return lists[0] === undefined ? undefined : [...idsIn(lists[0])].toSorted()
}

/** `$search="displayName:text"`: every word of the text begins a word of the name. */
export function parseSearch(search: string): Predicate {
  const text = /^"displayName:(.*)"$/s.exec(search.trim())?.[1]
  if (text === undefined) throw badRequest(`Syntax error: character ':' is expected in '${search}'.`)
  const wanted = words(text)
  return (object) => {
    const name = words(object.displayName ?? '')
    return wanted.every((word) => name.some((each) => each.startsWith(word)))
  }
}

function parseTerm(term: string): Predicate {
  const comparison = /^(\w+) (eq|ne) (?:'((?:[^']|'')*)'|(true|false|null))$/.exec(term)
  if (comparison) {
    const [, name = '', operator, text, word] = comparison
    const wanted = text === undefined ? (word === 'null' ? null : word === 'true') : unquote(text)
    if (!(typeof wanted === 'boolean' ? booleans : strings).has(name)) throw notIndexed()
    return (object) => (valueOf(object, name) === fold(wanted)) === (operator === 'eq')
  }
  const start = /^startswith\((\w+), ?'((?:[^']|'')*)'\)$/i.exec(term)
  if (start) {
    const [, name = '', text = ''] = start
    if (!strings.has(name)) throw notIndexed()
    const wanted = unquote(text).toLowerCase()
    return (object) => {
      const value = valueOf(object, name)
      return typeof value === 'string' && value.startsWith(wanted)
    }
  }
  const any = /^groupTypes\/any\((\w+): ?\1 eq '(\w+)'\)$/i.exec(term)
  if (any) return (object) => 'groupTypes' in object && object.groupTypes.includes(any[2] ?? '')
  const list = idList.exec(term)
  if (list) {
    const ids = idsIn(list[1] ?? '')
    return (object) => ids.has(object.id)
  }
  if (/^(not |\()|\/any\(|\/\$count| (or|gt|ge|lt|le|in) /.test(term)) throw unsupportedQuery()
  throw badRequest('Invalid filter clause')
}

const idList = /^id in \(([^)]*)\)$/i

function idsIn(list: string): Set<string> {
  return new Set(list.split(',').map((id) => unquote(id.trim().slice(1, -1)).toLowerCase()))
}

function notIndexed(): Error {
  return unsupportedQuery('The request uses a filter property that is not indexed')
}

/** Directory strings compare without regard to case. */
function valueOf(object: DirectoryObject, name: string): unknown {
  const properties: Readonly<Record<string, unknown>> = object
  return fold(properties[name])
}

function fold(value: unknown): unknown {
  if (value === undefined) return null
  return typeof value === 'string' ? value.toLowerCase() : value
}

/** Splits at ` and ` outside of quotes, where a doubled quote stands for one. */
function splitAnd(filter: string): string[] {
  const parts = filter.split(/('(?:[^']|'')*')/)
  const terms = ['']
  for (const [index, part] of parts.entries()) {
    const [first = '', ...rest] = index % 2 === 0 ? part.split(/ and /i) : [part]
    terms.push((terms.pop() ?? '') + first, ...rest)
  }
  return terms.map((term) => term.trim())
}

function unquote(text: string): string {
  return text.replaceAll("''", "'")
}

function words(text: string): string[] {
  return text
    .toLowerCase()
    .split(/[\s\p{P}]+/u)
    .filter((word) => word !== '')
}
