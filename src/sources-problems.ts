import type { z } from 'zod'
import { nearSpelling } from './near-spelling.ts'
import type { EntryProblem } from './sources-clashes.ts'
import { keysAt } from './sources-schema.ts'

/** In one mapping: with more, it is another file altogether. */
const maxUnknownKeys = 20

/** Longer words may be a secret that slipped into the place of a key: those of Entra have 40 characters. */
const tellable = /^[\w-]{1,24}$/

/** What zod found in a part of the file that stands at a path of it; `value` is the whole of it. */
export function problemsOf(
  issues: readonly z.core.$ZodIssue[],
  at: readonly PropertyKey[],
  value: unknown,
): EntryProblem[] {
  return issues.flatMap((issue): EntryProblem[] => {
    const where = [...at, ...issue.path]
    if (issue.code === 'unrecognized_keys') {
      return issue.keys.slice(0, maxUnknownKeys).map((key) => {
        if (!tellable.test(key)) return { path: where, message: 'has a key that is not known' }
        const near = nearSpelling(key, keysAt(where))
        const message = near ? `is not known; did you mean ${near}?` : 'is not known'
        return { path: [...where, key], message, key: true }
      })
    }
    // Of the ways a value may be written, the one that fits it best knows more.
    if (issue.code === 'invalid_union') {
      const [deepest = []] = issue.errors.toSorted((one, other) => depthOf(other) - depthOf(one))
      if (depthOf(deepest) > 0) return problemsOf(deepest, where, value)
    }
    const missing = valueAt(value, where) === undefined
    return [{ path: where, message: missing ? 'is missing' : issue.message }]
  })
}

const depthOf = (issues: readonly z.core.$ZodIssue[]) =>
  issues.reduce((depth, issue) => Math.max(depth, issue.path.length), 0)

function valueAt(value: unknown, at: readonly PropertyKey[]): unknown {
  return at.reduce<unknown>((inner, segment): unknown => {
    if (typeof inner !== 'object' || inner === null) return undefined
    return Object.getOwnPropertyDescriptor(inner, segment)?.value
  }, value)
}

const typeWords: Readonly<Record<string, string>> = {
  string: 'must be text; put it in quotes',
  boolean: 'must be true or false',
  number: 'must be a number',
  int: 'must be a whole number',
  array: 'must be a list',
  object: 'must be a mapping',
}

/** Zod's own issues in our words; those of the shapes have theirs. */
export function wordsOf(issue: z.core.$ZodRawIssue): string | undefined {
  if (issue.input === null) return 'is empty: fill it in, or leave it out'
  if (issue.code === 'invalid_type') return typeWords[issue.expected]
  if (issue.code === 'too_small') return `must ${sizeWords(issue.origin, 'least', issue.minimum)}`
  if (issue.code === 'too_big') return `must ${sizeWords(issue.origin, 'most', issue.maximum)}`
  return undefined
}

function sizeWords(kind: string, bound: 'least' | 'most', size: number | bigint): string {
  if (kind === 'array') return `have at ${bound} ${size} ${size === 1 ? 'entry' : 'entries'}`
  if (kind === 'string') return `have at ${bound} ${size} ${size === 1 ? 'character' : 'characters'}`
  return `be at ${bound} ${size}`
}

/** A path as people write it: `sources[1].tenant`. */
export function pathWords(at: readonly PropertyKey[]): string {
  if (at.length === 0) return 'the file'
  return at
    .map((segment) => (typeof segment === 'number' ? `[${segment}]` : `.${String(segment)}`))
    .join('')
    .slice(1)
}
