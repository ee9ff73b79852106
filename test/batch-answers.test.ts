import fc from 'fast-check'
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest'
import { Throttled } from '../src/errors.ts'
import { maxUsersAsked, readMembershipsOf, type UserRead } from '../src/graph/batch-memberships.ts'
import { createGraphClient, type GraphClient } from '../src/graph/client.ts'
import { defaultApp, startSimulator, type Simulator, type User } from '../src/simulator/index.ts'
import { appToken } from './support/entra-requests.ts'
import { batchAnswer, groupPage } from './support/graph-answers.ts'

let simulator: Simulator
let people: User[]
let client: GraphClient

beforeAll(async () => {
  simulator = await startSimulator({ users: maxUsersAsked, groups: 12, https: false })
  people = simulator.tenant.users()
})
beforeEach(async () => {
  client = createGraphClient({
    baseUrl: simulator.graphUrl,
    accessToken: await appToken(simulator, defaultApp),
  })
})
afterAll(() => simulator.close())

type Inner = { id: string; status: number; headers: Record<string, unknown>; body?: unknown }

const errorBody = (code: string) => ({ error: { code, message: '' } })
const read = 'read'
const paused = 'throttled 7000'
const unexpected = 'unexpected_response'

/** What comes in place of the true answer about somebody's groups, and what is to come of it. */
const answers = {
  'the truth': { make: (truth: Inner): unknown[] => [truth], end: read },
  'the truth about nobody': { make: (truth: Inner) => [truth], end: 'gone' },
  'an empty page with a next link': {
    make: (truth: Inner) => [{ ...truth, body: { ...groupPage.parse(truth.body), ...withNext(truth) } }],
    end: read,
  },
  'the truth with headers that are none': {
    make: (truth: Inner) => [{ ...truth, headers: { ...truth.headers, 'no header': 'x', count: [1] } }],
    end: read,
  },
  'no headers': { make: (truth: Inner) => [{ ...truth, headers: undefined }], end: read },
  'a 400': { make: refusal(400, 'Request_BadRequest'), end: unexpected },
  'a 401': { make: refusal(401, 'InvalidAuthenticationToken'), end: 'token_rejected' },
  'a 403': { make: refusal(403, 'Authorization_RequestDenied'), end: 'access_denied' },
  'a 404 about somebody whom Graph lists': {
    make: refusal(404, 'Request_ResourceNotFound'),
    end: 'graph_unavailable',
  },
  'a 404 about something else': { make: refusal(404, 'BadRequest'), end: unexpected },
  'a 404 with a page in it': {
    make: (truth: Inner) => [{ ...truth, status: 404, body: 'not found' }],
    end: unexpected,
  },
  'a 424': { make: refusal(424, 'FailedDependency'), end: 'graph_unavailable' },
  'a 429': {
    make: refusal(429, 'TooManyRequests', { 'Retry-After': '7' }),
    end: paused,
  },
  'a 429 that counts in numbers': {
    make: refusal(429, 'TooManyRequests', { 'retry-after': 7 }),
    end: paused,
  },
  'a 500': { make: refusal(500, 'InternalServerError'), end: 'graph_unavailable' },
  'a 503 that says when': {
    make: refusal(503, 'ServiceUnavailable', { 'Retry-After': '7' }),
    end: paused,
  },
  'no answer': { make: () => [], end: unexpected },
  'two answers': { make: (truth: Inner) => [truth, truth], end: unexpected },
  'an answer and half of one': { make: (truth: Inner) => [truth, { id: truth.id }], end: unexpected },
  'a status in words': { make: (truth: Inner) => [{ ...truth, status: 'OK' }], end: unexpected },
  'no body': { make: (truth: Inner) => [{ ...truth, body: undefined }], end: unexpected },
  'a body in base64': { make: (truth: Inner) => [{ ...truth, body: 'PGh0bWw+' }], end: unexpected },
  'a page with an error in it': {
    make: (truth: Inner) => [{ ...truth, body: { value: [], '@odata.count': 0, ...errorBody('x') } }],
    end: unexpected,
  },
  'a group without an id': {
    make: (truth: Inner) => [{ ...truth, body: { value: [{}], '@odata.count': 1 } }],
    end: unexpected,
  },
  'an empty page without its count': {
    make: (truth: Inner) => [{ ...truth, body: { value: [] } }],
    end: 'graph_unavailable',
  },
  'fewer groups than announced': {
    make: (truth: Inner) => [{ ...truth, body: { value: [], '@odata.count': 1 } }],
    end: 'graph_unavailable',
  },
  'nothing but null': { make: () => [null], end: unexpected },
} satisfies Record<string, { make: (truth: Inner) => unknown[]; end: string }>

type AnswerName = keyof typeof answers

function refusal(status: number, code: string, headers: Record<string, unknown> = {}) {
  return ({ id }: Inner) => [{ id, status, headers, body: errorBody(code) }]
}

const nobody = (index: number) => `00000000-0000-4000-8000-${String(index).padStart(12, '0')}`

/** The next page is the same question again, which has all of the answer. */
function withNext({ id }: Inner) {
  const asked = people[Number(id.replace('groups-', ''))]?.id ?? ''
  const path = `/v1.0/users/${asked}/transitiveMemberOf/microsoft.graph.group`
  const next = `${simulator.graphUrl}${path}?$select=id,displayName&$top=999&$count=true`
  return { value: [], '@odata.nextLink': next }
}

/** In the words of the ends above; of a person who was read, what was. */
function endOf(end: UserRead | undefined): string {
  if (end?.kind === 'failed') {
    const { error } = end
    return error instanceof Throttled ? `throttled ${error.retryAfterMs}` : error.code
  }
  if (end?.kind !== 'snapshot') return end?.kind ?? 'nothing'
  const { person, memberships } = end.snapshot
  const groups = memberships.map(({ objectId }) => objectId).toSorted()
  return `read ${person?.displayName}, enabled ${end.enabled}, in ${groups.join()}`
}

function truthOf({ id, displayName, accountEnabled }: User): string {
  const groups = simulator.tenant.groupsOf(id, { transitive: true }).map((group) => group.id)
  return `read ${displayName}, enabled ${accountEnabled}, in ${groups.toSorted().join()}`
}

/** One thing is everybody's: nobody asks on where Graph wants a pause. */
function expectedEnd(name: AnswerName, names: readonly AnswerName[], person: User): string {
  const isPaused = names.some((each) => answers[each].end === paused)
  if (isPaused && name === 'an empty page with a next link') return paused
  return answers[name].end === read ? truthOf(person) : answers[name].end
}

/** Puts these in place of the true answers, in the order of the people asked about. */
function answerWith(names: readonly AnswerName[]): void {
  simulator.faults.next({
    on: { path: /\$batch$/ },
    rewrite: (body) => ({
      responses: batchAnswer.parse(body).responses.flatMap((truth) => {
        const name = truth.id.startsWith('groups-') ? names[Number(truth.id.slice(7))] : undefined
        return name === undefined ? [truth] : answers[name].make(truth)
      }),
    }),
  })
}

const mix = fc.array(fc.constantFrom(...Object.keys(answers).filter(isName)), {
  minLength: 1,
  maxLength: maxUsersAsked,
})
function isName(name: string): name is AnswerName {
  return name in answers
}

test('whatever mix of answers comes, what becomes of a person depends on the answers about them alone', async () => {
  await fc.assert(
    fc.asyncProperty(mix, async (names) => {
      answerWith(names)
      const users = names.map((name, index) =>
        name === 'the truth about nobody' ? nobody(index) : (people[index]?.id ?? ''),
      )
      const reads = await readMembershipsOf(client, { users, read: 'transitive', beganAt: 'now' })
      const expected = people
        .slice(0, names.length)
        .map((person, index) => expectedEnd(names[index] ?? 'the truth', names, person))
      expect(users.map((user) => endOf(reads.get(user)))).toEqual(expected)
    }),
    {
      numRuns: 200,
      examples: Object.keys(answers)
        .filter(isName)
        .map((name) => [['the truth', name]]),
    },
  )
})
