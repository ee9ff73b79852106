import { Hono, type Context } from 'hono'
import type { z } from 'zod'
import type { Database } from '../../db/client.ts'
import {
  findGroup,
  findPerson,
  listGroupsOf,
  listMembersOf,
  type Held,
  type ObjectRef,
  type Page,
  type PageOf,
} from '../../db/membership-pages.ts'
import {
  identifyCaller,
  mayReadAll,
  mayReadIn,
  readAll,
  type Caller,
  type CallerParts,
  type CallerVariables,
} from './callers.ts'
import { taggedJson } from './conditional.ts'
import { parseQuery, refOf, writeCursor, type Cursor, type ListQuery } from './groups-query.ts'
import type { groupMembers, userGroups } from './groups-shapes.ts'
import { invalid, type RequestProblem } from './problems.ts'
import { unavailable } from './unavailable.ts'

export type GroupsParts = CallerParts & { db: Database }

type Asking = Context<CallerVariables>

/**
 * `GET /users/{id}/groups` and `GET /groups/{id}/members` for applications: page by page, of now or of any moment before.
 * A page costs two statements whatever its size.
 */
export function groups(parts: GroupsParts): Hono<CallerVariables> {
  const { log } = parts
  const app = new Hono<CallerVariables>()
  const routes = { '/users/:id/groups': personsGroups, '/groups/:id/members': groupsMembers }
  for (const [path, answer] of Object.entries(routes)) {
    app.use(path, identifyCaller(parts))
    app.get(path, async (c) => {
      try {
        return await answer(parts.db, c)
      } catch (error) {
        return unavailable(c, error, { log, what: 'memberships not read' })
      }
    })
    app.all(path, (c) => c.json({ error: 'method_not_allowed' }, 405, { Allow: 'GET, HEAD' }))
  }
  return app
}

async function personsGroups(db: Database, c: Asking): Promise<Response> {
  const caller = c.get('caller')
  const asked = parseAsked(c, (id) => (id === 'me' ? ownRef(caller) : refOf(id)))
  if ('problems' in asked) return invalid(c, asked.problems)
  const person = await findPerson(db, asked.ref, asked.asOf)
  // Whether somebody is stored at all is told to who may read it only.
  if (!mayReadAll(caller) && (typeof caller === 'string' || person?.id !== caller.userId)) return forbidden(c)
  if (!person || !mayReadIn(caller, person.tenantId)) return c.json({ error: 'not_found' }, 404)
  const wrong = misplaced('groups', person, asked)
  if (wrong) return invalid(c, [wrong])
  const page = await listGroupsOf(db, person.id, asked)
  const next = nextPath(`/v1/users/${c.req.param('id') === 'me' ? 'me' : person.id}/groups`, asked, page, {
    of: 'groups',
    subject: person.id,
  })
  const { syncedAt, state, future: _, ...user } = person
  const body: z.output<typeof userGroups> = {
    user,
    asOf: asked.asOf ?? null,
    freshness: { syncedAt, state },
    groups: page.entries,
    next,
  }
  return taggedJson(c, body, linkTo(next))
}

async function groupsMembers(db: Database, c: Asking): Promise<Response> {
  const asked = parseAsked(c, refOf)
  if ('problems' in asked) return invalid(c, asked.problems)
  const caller = c.get('caller')
  if (!mayReadAll(caller)) return forbidden(c)
  const found = await findGroup(db, asked.ref, asked.asOf)
  if (!found || !mayReadIn(caller, found.tenantId)) return c.json({ error: 'not_found' }, 404)
  const wrong = misplaced('members', found, asked)
  if (wrong) return invalid(c, [wrong])
  const page = await listMembersOf(db, found.id, asked)
  const next = nextPath(`/v1/groups/${found.id}/members`, asked, page, { of: 'members', subject: found.id })
  const { future: _, ...group } = found
  const body: z.output<typeof groupMembers> = { group, asOf: asked.asOf ?? null, members: page.entries, next }
  return taggedJson(c, body, linkTo(next))
}

type Asked = PageOf & { ref: ObjectRef; query: ListQuery }

function parseAsked(
  c: Asking,
  refIn: (id: string) => ObjectRef | string | undefined,
): Asked | { problems: RequestProblem[] } {
  const ref = refIn(c.req.param('id') ?? '') ?? 'must be an id, or <object id>.<tenant id>'
  const parsed = parseQuery(c.req.url)
  if (typeof ref === 'string' || 'problems' in parsed) {
    const ofId = typeof ref === 'string' ? [{ field: 'id', message: ref }] : []
    return { problems: [...ofId, ...('problems' in parsed ? parsed.problems : [])] }
  }
  const { limit, after, asOf } = parsed.query
  return { ref, limit, after: after?.last, asOf: asOf ?? after?.asOf, query: parsed.query }
}

/** A text says what is wrong. */
function ownRef(caller: Caller): ObjectRef | string {
  return caller === 'application'
    ? 'must be an id here: an API key is nobody, so that there is no me'
    : { id: caller.userId }
}

/** What shows only once the list is known: a moment that has yet to come, or a place in another list. */
function misplaced(
  of: Cursor['of'],
  { id, future }: { id: string; future: boolean },
  { asOf, query: { after } }: Asked,
): RequestProblem | undefined {
  if (future) return { field: 'asOf', message: 'must not be in the future, by the clock of the database' }
  if (!after || (after.of === of && after.subject === id && after.asOf === asOf)) return undefined
  return { field: 'after', message: 'is a place in another list, or in that of another moment' }
}

function nextPath(
  path: string,
  { limit, asOf }: Asked,
  { entries, more }: Page<Held>,
  list: Pick<Cursor, 'of' | 'subject'>,
): string | null {
  const last = entries.at(-1)?.id
  if (!more || last === undefined) return null
  const query = new URLSearchParams({ limit: String(limit) })
  if (asOf !== undefined) query.set('asOf', asOf)
  query.set('after', writeCursor({ ...list, last, asOf }))
  return `${path}?${query.toString()}`
}

const linkTo = (next: string | null): Record<string, string> =>
  next === null ? {} : { Link: `<${next}>; rel="next"` }

/** RFC 6750, section 3.1. */
function forbidden(c: Context): Response {
  const challenge = `Bearer realm="entra-group-sync", error="insufficient_scope", scope="${readAll}"`
  const message = `this token is good for its own person only; others need the scope ${readAll}`
  return c.json({ error: 'forbidden', message }, 403, { 'WWW-Authenticate': challenge })
}
