import { randomUUID } from 'node:crypto'
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { z } from 'zod'
import { maxUsersAsked, readMembershipsOf, type UserRead } from '../src/graph/batch-memberships.ts'
import { createGraphClient } from '../src/graph/client.ts'

const baseUrl = 'http://127.0.0.1:9'
const options = { read: 'transitive', beganAt: '2026-01-01T00:00:00Z' } as const
const maxBytes = 10_000

type Asked = { id: string; url: string }

const question = z.object({ requests: z.array(z.object({ id: z.string(), url: z.string() })) })

/** A Graph of these people, by the group that each is in, and the batches that it was asked. */
function graphOf(describe: ReadonlyMap<string, object[]>, inPlace: (batch: number) => object = () => ({})) {
  const batches: Asked[][] = []
  const answerTo = ({ id, url }: Asked) => {
    if (id.startsWith('people')) {
      const ids = [...describe.keys()].filter((user) => decodeURIComponent(url).includes(user))
      return { value: ids.map((user) => ({ id: user })) }
    }
    const groups = describe.get(url.split('/')[2] ?? '') ?? []
    return { value: groups, '@odata.count': groups.length }
  }
  const send: typeof fetch = async (_, init) => {
    const { requests } = question.parse(JSON.parse(z.string().parse(init?.body)))
    batches.push(requests)
    const responses = requests.map((asked) => ({
      id: asked.id,
      status: 200,
      body: answerTo(asked),
      ...(asked.id === 'groups-0' ? inPlace(batches.length) : {}),
    }))
    return Response.json({ responses })
  }
  return { batches, send }
}

const people = Array.from({ length: maxUsersAsked }, () => randomUUID())
const groupOf = (size: number) => ({ id: randomUUID(), description: 'd'.repeat(size), securityEnabled: true })
const endOf = (read: UserRead | undefined) =>
  read?.kind === 'failed'
    ? read.error.code
    : read?.kind === 'snapshot'
      ? read.snapshot.memberships.length
      : read

const sizes = fc.array(fc.constantFrom(10, 3000, 9000, 20_000), { minLength: 1, maxLength: maxUsersAsked })

test('whoever is asked about together, only whose own groups are too large for an answer is not read', async () => {
  await fc.assert(
    fc.asyncProperty(sizes, async (chosen) => {
      const users = people.slice(0, chosen.length)
      const { batches, send } = graphOf(new Map(users.map((user, at) => [user, [groupOf(chosen[at] ?? 0)]])))
      const client = createGraphClient({ baseUrl, accessToken: 'secret', maxBytes, fetch: send })
      const reads = await readMembershipsOf(client, { ...options, users })
      expect(users.map((user) => endOf(reads.get(user)))).toEqual(
        chosen.map((size) => (size > maxBytes ? 'answer_too_large' : 1)),
      )
      expect(client.usage()).toMatchObject({ requests: batches.length, units: batches.flat().length })
    }),
    { numRuns: 50 },
  )
})

test('as many people as a batch holds are read with a full page of groups with long descriptions each', async () => {
  const full = () => Array.from({ length: 999 }, () => groupOf(1000))
  const { batches, send } = graphOf(new Map(people.map((user) => [user, full()])))
  const client = createGraphClient({ baseUrl, accessToken: 'secret', fetch: send })
  const reads = await readMembershipsOf(client, { ...options, users: people })
  expect(people.map((user) => endOf(reads.get(user)))).toEqual(people.map(() => 999))
  expect(batches).toHaveLength(3)
})

test('where Graph asks for a pause in one half, the other is not asked about', async () => {
  const users = people.slice(0, 4)
  const throttled = { status: 429, headers: { 'Retry-After': '7' }, body: undefined }
  const { batches, send } = graphOf(new Map(users.map((user) => [user, [groupOf(3000)]])), (batch) =>
    batch === 2 ? throttled : {},
  )
  const client = createGraphClient({ baseUrl, accessToken: 'secret', maxBytes, fetch: send })
  const reads = await readMembershipsOf(client, { ...options, users })
  expect(users.map((user) => endOf(reads.get(user)))).toEqual(['throttled', 1, 'throttled', 'throttled'])
  expect(batches).toHaveLength(2)
})
