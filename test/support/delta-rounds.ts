import { expect } from 'vitest'
import { z } from 'zod'
import type { Simulator } from '../../src/simulator/index.ts'
import { ask, type Target } from './graph-requests.ts'

const removed = z.strictObject({ reason: z.enum(['changed', 'deleted']) }).optional()
const member = z.strictObject({
  '@odata.type': z.templateLiteral([
    '#microsoft.graph.',
    z.enum(['user', 'group', 'device', 'servicePrincipal']),
  ]),
  id: z.guid(),
  '@removed': removed,
})
const entry = z.looseObject({
  id: z.guid(),
  displayName: z.string().nullable().optional(),
  '@removed': removed,
  'members@delta': z.array(member).optional(),
})
/** One page of a delta query: a next link or a delta link, never both. */
export const deltaPage = z.union([
  z.strictObject({
    '@odata.context': z.string(),
    '@odata.nextLink': z.url(),
    '@odata.deltaLink': z.undefined().optional(),
    value: z.array(entry),
  }),
  z.strictObject({
    '@odata.context': z.string(),
    '@odata.nextLink': z.undefined().optional(),
    '@odata.deltaLink': z.url(),
    value: z.array(entry),
  }),
])

export type DeltaPage = z.infer<typeof deltaPage>
export type DeltaEntry = z.infer<typeof entry>

export async function readPage(on: Target, link: string, headers = {}): Promise<DeltaPage> {
  const { status, json } = await ask(on, link, { headers })
  expect(status).toBe(200)
  return deltaPage.parse(json)
}

export type Round = { pages: DeltaPage[]; entries: DeltaEntry[]; deltaLink: string }

/** Follows next links to the delta link; `between` happens after each page. */
export async function readRound(on: Target, link: string, between = () => {}): Promise<Round> {
  const pages: DeltaPage[] = []
  for (let next: string | undefined = link; next !== undefined; next = pages.at(-1)?.['@odata.nextLink']) {
    pages.push(await readPage(on, next))
    between()
  }
  return {
    pages,
    entries: pages.flatMap(({ value }) => value),
    deltaLink: pages.at(-1)?.['@odata.deltaLink'] ?? '',
  }
}

/** What a client that believes every entry knows: names by id, and direct members of groups. */
export type Known = { names: Map<string, unknown>; members: Map<string, Set<string>> }

export function nothingKnown(): Known {
  return { names: new Map(), members: new Map() }
}

/** Merges by id, as Graph's documentation tells clients to. */
export function take(known: Known, entries: readonly DeltaEntry[]): void {
  for (const { id, displayName, '@removed': gone, 'members@delta': members } of entries) {
    if (gone) {
      known.names.delete(id)
      known.members.delete(id)
      continue
    }
    if (displayName !== undefined || !known.names.has(id)) known.names.set(id, displayName)
    const held = known.members.get(id) ?? new Set()
    for (const each of members ?? []) {
      if (each['@removed']) held.delete(each.id)
      else held.add(each.id)
    }
    known.members.set(id, held)
  }
}

/** The same, as the directory has it. A client that knows who is deleted leaves them out of the groups it knows. */
export function truth({ tenant }: Simulator): { users: Map<string, unknown>; groups: Known } {
  const groups = tenant.groups()
  const members = new Map(groups.map(({ id }) => [id, new Set<string>()]))
  for (const { id } of tenant.users())
    for (const group of tenant.groupsOf(id, { transitive: false, hidden: true }))
      members.get(group.id)?.add(id)
  return {
    users: new Map(tenant.users().map(({ id, displayName }) => [id, displayName])),
    groups: { names: new Map(groups.map(({ id, displayName }) => [id, displayName])), members },
  }
}

/** Members who are users that exist: those softly deleted are still in their groups. */
export function livePeople(known: Known, users: ReadonlyMap<string, unknown>): Known {
  const members = [...known.members].map(
    ([id, held]) => [id, new Set([...held].filter((each) => users.has(each)).toSorted())] as const,
  )
  return { names: known.names, members: new Map(members) }
}
