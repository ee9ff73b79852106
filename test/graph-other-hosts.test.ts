import { once } from 'node:events'
import { createServer } from 'node:http'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { createGraphClient } from '../src/graph/client.ts'
import { readMemberships } from '../src/graph/memberships.ts'
import { startSimulator, type Simulator, type User } from '../src/simulator/index.ts'

let simulator: Simulator
/** In more groups than fit a page. */
let person: User

beforeAll(async () => {
  simulator = await startSimulator({ users: 0, groups: 0, https: false })
  person = simulator.tenant.addUser({ displayName: 'Ada' })
  for (let index = 0; index < 1000; index += 1) {
    const group = simulator.tenant.addGroup({ displayName: `Group ${index}`, kind: 'security' })
    simulator.tenant.addMember(group.id, person.id)
  }
})
afterAll(() => simulator.close())

async function read() {
  const { access_token: accessToken } = await simulator.signIn(person.id)
  const client = createGraphClient({ baseUrl: simulator.graphUrl, accessToken })
  const beganAt = '2026-01-01T00:00:00.000000Z'
  return await readMemberships(client, { objectId: person.id, read: 'transitive', beganAt })
}

/** Another host, which answers everything with this and keeps what it was sent. */
async function foreignServer(answer: object) {
  const received: string[] = []
  const server = createServer((request, response) => {
    received.push(`${request.method} ${request.url} ${request.headers.authorization}`)
    response.setHeader('content-type', 'application/json').end(JSON.stringify(answer))
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  const address = server.address()
  const port = typeof address === 'object' ? address?.port : 0
  return { url: `http://127.0.0.1:${port}`, received, close: () => server.close() }
}

test('a next link to another host is refused and the token is not sent there', async () => {
  const foreign = await foreignServer({ value: [] })
  simulator.faults.next({
    on: { page: 1 },
    rewrite: (body) => ({
      ...(body as object),
      '@odata.nextLink': `${foreign.url}/v1.0/me/memberOf?$skiptoken=1`,
    }),
  })
  await expect(read()).rejects.toMatchObject({ code: 'unexpected_response' })
  expect(foreign.received).toEqual([])
  foreign.close()
})

test.for([301, 302, 307, 308])(
  'a redirect of %i is not followed, however well its target would answer',
  async (status) => {
    const page = { value: [], '@odata.count': 0 }
    const responses = [
      { id: 'me', status: 200, body: { id: person.id } },
      { id: 'groups', status: 200, body: page },
    ]
    const target = await foreignServer({ ...page, responses })
    for (const on of [{ page: 2 }, { path: /\$batch$/ }]) {
      simulator.faults.next({ on, status, headers: { location: `${target.url}/v1.0/me/memberOf` } })
      await expect(read()).rejects.toMatchObject({ code: 'graph_unavailable' })
    }
    expect(target.received).toEqual([])
    target.close()
  },
)
