import type { z } from 'zod'

/** One wrong field of a request, by its path: `tokens.accessToken`, `tokens.scopes[2]`. */
export type RequestProblem = { field: string; message: string }

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
  if (value === undefined) return 'is missing'
  if (issue.code !== 'invalid_union') return issue.message
  const reasons = new Set(issue.errors.flat().map(({ message }) => message))
  return [...reasons].join(', or: ') || issue.message
}

function fieldName(path: Path): string {
  const name = path.map((step) => (typeof step === 'number' ? `[${step}]` : `.${String(step)}`)).join('')
  return name.replace(/^\./, '') || 'body'
}

const printable = (key: string) => (/^[\w-]{1,40}$/.test(key) ? key : '(unprintable name)')

function valueAt(body: unknown, path: Path): unknown {
  return path.reduce<unknown>(
    (value, step) => (typeof value === 'object' && value !== null ? Reflect.get(value, step) : undefined),
    body,
  )
}
