import type { Context } from 'hono'
import { z } from 'zod'

/** Body of a 400. A wrong field is named by its path: `tokens.accessToken`, `tokens.scopes[2]`. */
export const invalidRequest = z.object({
  error: z.literal('invalid_request'),
  problems: z.array(z.object({ field: z.string(), message: z.string() })),
})

export type RequestProblem = z.output<typeof invalidRequest>['problems'][number]

/** The 400 that names them. */
export const invalid = (c: Context, problems: readonly RequestProblem[]) =>
  c.json({ error: 'invalid_request', problems }, 400)

type Issue = z.core.$ZodIssue
type Path = readonly PropertyKey[]

/**
 * Names every wrong field and never repeats a value: a token may stand where it doesn't belong, even as the name of an
 * unknown field.
 */
export function describeProblems(issues: readonly Issue[], body: unknown): RequestProblem[] {
  return issues.flatMap((issue) => {
    if (issue.code === 'unrecognized_keys') {
      return issue.keys.map((key) => ({
        field: fieldName([...issue.path, printable(key)]),
        message: 'is not a known field',
      }))
    }
    return [{ field: fieldName(issue.path), message: messageFor(issue, valueAt(body, issue.path)) }]
  })
}

function messageFor(issue: Issue, value: unknown): string {
  // Of a field that is missing in these circumstances only, the rule itself says more.
  if (value === undefined && issue.code !== 'custom') return 'is missing'
  if (issue.code !== 'invalid_union') return issue.message
  const reasons = new Set(issue.errors.flat().map(({ message }) => message))
  return [...reasons].join(', or: ') || issue.message
}

/** For zod, where a schema has no message of its own: what a field must be, never what it is. */
export function plainMessage(issue: z.core.$ZodRawIssue): string {
  switch (issue.code) {
    case 'invalid_type':
      return `must be ${kinds[issue.expected] ?? issue.expected}`
    case 'too_small':
      return issue.origin === 'string' && issue.minimum === 1
        ? 'must not be empty'
        : limit('at least', issue.origin, issue.minimum)
    case 'too_big':
      return limit('at most', issue.origin, issue.maximum)
    case 'invalid_format':
      return formats[issue.format] ?? 'does not have the right form'
    case 'invalid_value':
      return `must be one of ${issue.values.map(String).join(', ')}`
    case 'not_multiple_of':
      return `must be a multiple of ${issue.divisor}`
    case 'unrecognized_keys':
      return 'is not a known field'
    case 'invalid_union':
    case 'invalid_key':
    case 'invalid_element':
    case 'custom':
      break
  }
  return 'is not acceptable'
}

const kinds: Record<string, string> = {
  string: 'text',
  number: 'a number',
  int: 'a whole number',
  boolean: 'true or false',
  array: 'a list',
  object: 'an object',
  null: 'null',
}

const formats: Record<string, string> = {
  datetime: 'must be a time in ISO 8601 with an offset, such as 2030-01-01T12:00:00Z',
  guid: 'must be a GUID',
}

function limit(which: 'at least' | 'at most', origin: string, value: number | bigint): string {
  if (origin === 'string') return `must have ${which} ${value} characters`
  if (origin === 'array') return `must have ${which} ${value} entries`
  return `must be ${which} ${value}`
}

function fieldName(path: Path): string {
  const name = path.map((step) => (typeof step === 'number' ? `[${step}]` : `.${String(step)}`)).join('')
  return name.replace(/^\./, '') || 'body'
}

/** The name of a field that somebody else has chosen. */
export const printable = (key: string) => (/^[\w-]{1,40}$/.test(key) ? key : '(unprintable name)')

function valueAt(body: unknown, path: Path): unknown {
  return path.reduce<unknown>(
    (value, step) => (typeof value === 'object' && value !== null ? Reflect.get(value, step) : undefined),
    body,
  )
}
