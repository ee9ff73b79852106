import { z } from 'zod'
import type { ObjectRef } from '../../db/membership-pages.ts'
import { describeProblems, plainMessage, printable, type RequestProblem } from './problems.ts'

const guid = '[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}'
/** How {@link refOf} wants an id to be written. */
export const idPattern = `(${guid})(?:\\.(${guid}))?`
const reference = new RegExp(`^(?:${idPattern})$`)

/** Our id, or `<object id>.<tenant id>` of Entra, in any case. Undefined for what is neither. */
export function refOf(text: string): ObjectRef | undefined {
  const [, id, tenantId] = reference.exec(text.toLowerCase()) ?? []
  if (id === undefined) return undefined
  return tenantId === undefined ? { id } : { objectId: id, tenantId }
}

/**
 * Which page comes next: behind `last` in one list, of one moment. Not a secret; whoever makes one up gets a page that they
 * may see anyway.
 */
export type Cursor = { of: 'groups' | 'members'; subject: string; last: string; asOf: string | undefined }

const cursorText = new RegExp(`^(groups|members) (${guid}) (${guid}) (\\S*)$`)

export function writeCursor({ of, subject, last, asOf = '' }: Cursor): string {
  return Buffer.from(`${of} ${subject} ${last} ${asOf}`).toString('base64url')
}

/** Undefined for what {@link writeCursor} has not written. */
export function readCursor(text: string): Cursor | undefined {
  const [, of, subject, last, asOf] = cursorText.exec(Buffer.from(text, 'base64url').toString('latin1')) ?? []
  if (of === undefined || subject === undefined || last === undefined) return undefined
  if (asOf !== '' && moment.safeParse(asOf).data !== asOf) return undefined
  const cursor: Cursor = { of: of === 'groups' ? of : 'members', subject, last, asOf: asOf || undefined }
  return writeCursor(cursor) === text ? cursor : undefined
}

const timeMessage =
  'must be a time in ISO 8601 with an offset, such as 2026-05-01T12:00:00Z; in an address, + is written %2B'

/** In UTC, to the microsecond: what PostgreSQL keeps, and JavaScript's dates don't. Further digits change no answer. */
const moment = z.iso
  .datetime({ offset: true, error: timeMessage })
  .transform((text) => {
    const [, seconds = '', fraction = '', offset = ''] =
      /^(.{19})(?:\.(\d+))?(Z|[+-]\d\d:\d\d)$/.exec(text) ?? []
    const utc = new Date(`${seconds}${offset}`).toISOString()
    return `${utc.slice(0, -5)}.${fraction.slice(0, 6).padEnd(6, '0')}Z`
  })
  .refine((text) => /^(19[7-9]|[2-9]\d\d)\d-/.test(text), 'must be a time from 1970 to 9999')

const notGivenOut = 'is not a place that `next` has given'

/** What may stand behind the `?` of both lists. */
export const listQuery = z.strictObject({
  limit: z.int().min(1).max(1000).default(100).describe('Entries of a page, at most.'),
  after: z
    .string()
    .max(300, notGivenOut)
    .transform((text, context): Cursor => {
      const cursor = readCursor(text)
      if (cursor) return cursor
      context.addIssue({ code: 'custom', message: notGivenOut })
      return z.NEVER
    })
    .optional()
    .describe(
      'Where the page begins, as `next` of the page before it has it. It carries on with the same `asOf`.',
    ),
  asOf: moment
    .optional()
    .describe(
      'Memberships of this moment, as the change log tells them; ISO 8601 with an offset, exact to the microsecond. Names and states are today’s.',
    ),
})

export type ListQuery = z.output<typeof listQuery>

/** Names every parameter that is wrong, unknown or given twice. */
export function parseQuery(url: string): { query: ListQuery } | { problems: RequestProblem[] } {
  const given = [...new URL(url).searchParams]
  const names = given.map(([name]) => name)
  const repeated = new Set(names.filter((name, at) => names.indexOf(name) < at))
  const told = Object.fromEntries(given.map(([name, text]) => [name, name === 'limit' ? count(text) : text]))
  const parsed = listQuery.safeParse(told, { error: plainMessage })
  const problems = [
    ...[...repeated].map((name) => ({ field: printable(name), message: 'is given more than once' })),
    ...describeProblems(parsed.error?.issues ?? [], told),
  ]
  return parsed.success && problems.length === 0 ? { query: parsed.data } : { problems }
}

const count = (text: string) => (/^\d{1,9}$/.test(text) ? Number(text) : text)
