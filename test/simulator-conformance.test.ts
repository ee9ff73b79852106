import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { z } from 'zod'
import { startSimulator, type Simulator, type User } from '../src/simulator/index.ts'

/** What the shared checks need: they hold for any Graph, given a user in more than 100 groups and their token. */
type Target = { graphUrl: string; token: string; objectId: string; userPrincipalName: string }

const guid = z.guid()
const errorBody = z.object({
  error: z.object({
    code: z.string().min(1),
    message: z.string(),
    innerError: z.looseObject({ date: z.string(), 'request-id': guid, 'client-request-id': guid }),
  }),
})
const selectedGroup = z.strictObject({
  id: guid,
  displayName: z.string().nullable(),
  mail: z.string().nullable(),
  mailEnabled: z.boolean(),
  securityEnabled: z.boolean(),
  groupTypes: z.array(z.enum(['Unified', 'DynamicMembership'])),
})
const groupPage = z.strictObject({
  '@odata.context': z.string(),
  '@odata.count': z.int().nonnegative().optional(),
  '@odata.nextLink': z.url().optional(),
  value: z.array(selectedGroup),
})
const directoryObject = z.looseObject({
  '@odata.type': z.enum([
    '#microsoft.graph.group',
    '#microsoft.graph.directoryRole',
    '#microsoft.graph.administrativeUnit',
  ]),
  id: guid,
  displayName: z.string().nullable(),
})
const objectPage = z.object({
  '@odata.context': z.string(),
  '@odata.nextLink': z.url().optional(),
  value: z.array(directoryObject),
})
const user = z.strictObject({
  '@odata.context': z.string(),
  id: guid,
  businessPhones: z.array(z.string()),
  displayName: z.string(),
  givenName: z.string().nullable(),
  jobTitle: z.string().nullable(),
  mail: z.string().nullable(),
  mobilePhone: z.string().nullable(),
  officeLocation: z.string().nullable(),
  preferredLanguage: z.string().nullable(),
  surname: z.string().nullable(),
  userPrincipalName: z.string(),
})
const idList = z.strictObject({ '@odata.context': z.string(), value: z.array(guid) })

const select = '$select=id,displayName,mail,mailEnabled,securityEnabled,groupTypes'
const cast = '/me/transitiveMemberOf/microsoft.graph.group'
const eventual = { ConsistencyLevel: 'eventual' }

let simulator: Simulator
let member: User
let target: Target

beforeAll(async () => {
  simulator = await startSimulator({ users: 60 })
  member = simulator.tenant.users().find(({ id }) => simulator.tenant.groupsOf(id).length > 999) ?? missing()
  target = await targetFor()
})
afterAll(() => simulator.close())

function missing(): never {
  throw new Error('the generated tenant lacks what the test needs')
}

async function targetFor(scope?: string, who = member): Promise<Target> {
  const tokens = await simulator.signIn(who.id, scope === undefined ? {} : { scope })
  const { id: objectId, userPrincipalName } = who
  return { graphUrl: simulator.graphUrl, token: tokens.access_token, objectId, userPrincipalName }
}

type Asked = { headers?: Record<string, string>; body?: unknown; on?: Target }

async function ask(path: string, { headers = {}, body, on = target }: Asked = {}) {
  const url = path.startsWith('http') ? path : `${on.graphUrl}/v1.0${path}`
  const answer = await fetch(url, {
    headers: { authorization: `Bearer ${on.token}`, 'content-type': 'application/json', ...headers },
    ...(body === undefined ? {} : { method: 'POST', body: JSON.stringify(body) }),
  })
  const text = await answer.text()
  const json: unknown = answer.headers.get('content-type')?.startsWith('application/json')
    ? JSON.parse(text)
    : undefined
  return { status: answer.status, headers: answer.headers, text, json }
}

async function refusal(path: string, asked: Asked = {}) {
  const { status, json } = await ask(path, asked)
  const { code, message } = errorBody.parse(json).error
  return { status, code, message }
}

async function walk(path: string, on = target) {
  const pages: z.infer<typeof groupPage>[] = []
  for (let next: string | undefined = path; next !== undefined; next = pages.at(-1)?.['@odata.nextLink']) {
    const { status, json } = await ask(next, { headers: eventual, on })
    expect(status).toBe(200)
    pages.push(groupPage.parse(json))
  }
  return pages
}

describe('what any Microsoft Graph answers', () => {
  test('me is the signed-in user with the default properties', async () => {
    const { status, json, headers } = await ask('/me')
    expect(status).toBe(200)
    expect(user.parse(json)).toMatchObject({
      id: target.objectId,
      userPrincipalName: target.userPrincipalName,
    })
    expect(user.parse(json)['@odata.context']).toBe(`${target.graphUrl}/v1.0/$metadata#users/$entity`)
    expect(headers.get('content-type')).toContain('odata.metadata=minimal')
  })

  test('a selection returns those properties and names them in the context', async () => {
    const { json } = await ask('/me?$select=id,accountEnabled')
    expect(json).toStrictEqual({
      '@odata.context': `${target.graphUrl}/v1.0/$metadata#users(id,accountEnabled)/$entity`,
      id: target.objectId,
      accountEnabled: true,
    })
  })

  test('every answer carries a request id, and the client request id that was sent', async () => {
    const sent = crypto.randomUUID()
    const { headers } = await ask('/me', { headers: { 'client-request-id': sent } })
    expect(guid.safeParse(headers.get('request-id')).success).toBe(true)
    expect(headers.get('client-request-id')).toBe(sent)
    const { json } = await ask('/me/nothing', { headers: { 'client-request-id': sent } })
    expect(errorBody.parse(json).error.innerError['client-request-id']).toBe(sent)
  })

  test('a page holds 100 groups unless the request says otherwise', async () => {
    const [first] = await walk(`${cast}?${select}&$count=true`)
    expect(first?.value).toHaveLength(100)
  })

  test('pages of 999 walk to the end without repeating a group, and only the first is counted', async () => {
    const pages = await walk(`${cast}?${select}&$top=999&$count=true`)
    const ids = pages.flatMap(({ value }) => value.map(({ id }) => id))
    expect(pages.length).toBeGreaterThan(1)
    expect(pages[0]?.value).toHaveLength(999)
    expect(new Set(ids).size).toBe(ids.length)
    expect(pages.map((page) => page['@odata.count'])).toStrictEqual([
      ids.length,
      ...pages.slice(1).map(() => undefined),
    ])
    expect(pages[0]?.['@odata.context']).toBe(
      `${target.graphUrl}/v1.0/$metadata#groups(id,displayName,mail,mailEnabled,securityEnabled,groupTypes)`,
    )
  })

  test('a next link is absolute, on the host that was asked, and keeps the options', async () => {
    const [first] = await walk(`${cast}?${select}&$top=999&$count=true`)
    const next = new URL(first?.['@odata.nextLink'] ?? '')
    expect(next.origin).toBe(target.graphUrl)
    expect(next.searchParams.get('$top')).toBe('999')
    expect(next.searchParams.get('$skiptoken')).toBeTruthy()
  })

  test('the second page needs the consistency header again', async () => {
    const [first] = await walk(`${cast}?${select}&$top=999&$count=true`)
    expect(await refusal(first?.['@odata.nextLink'] ?? '')).toMatchObject({
      status: 400,
      code: 'Directory_ExpiredPageToken',
    })
  })

  test('a spoilt page token is refused', async () => {
    const asked = `${cast}?${select}&$count=true&$skiptoken=RFNwdAIAAQnonsense`
    expect(await refusal(asked, { headers: eventual })).toMatchObject({
      status: 400,
      code: 'Directory_ExpiredPageToken',
    })
  })

  test.each(['0', '1000', '-1'])('a page size of %s is refused', async (top) => {
    expect(await refusal(`/me/memberOf?$top=${top}`)).toStrictEqual({
      status: 400,
      code: 'Request_UnsupportedQuery',
      message: `Invalid page size specified: '${top}'. Must be between 1 and 999 inclusive.`,
    })
  })

  test('an uncast read mixes groups, directory roles and administrative units, each saying its type', async () => {
    const { json } = await ask('/me/memberOf?$top=999')
    const page = objectPage.parse(json)
    expect(page['@odata.context']).toBe(`${target.graphUrl}/v1.0/$metadata#directoryObjects`)
    expect(page['@odata.nextLink']).toBeDefined()
  })

  test('counting is silently ignored without the consistency header', async () => {
    const { status, json } = await ask('/me/memberOf?$count=true&$top=5')
    expect(status).toBe(200)
    expect(json).not.toHaveProperty('@odata.count')
  })

  test('a count path answers a plain number, and only with the consistency header', async () => {
    const counted = await ask('/me/memberOf/$count', { headers: eventual })
    expect(counted.headers.get('content-type')).toContain('text/plain')
    expect(counted.text).toMatch(/^\d+$/)
    expect(await refusal('/me/memberOf/$count')).toStrictEqual({
      status: 400,
      code: 'Request_BadRequest',
      message: '$count is not currently supported.',
    })
  })

  test('a search without the consistency header is refused', async () => {
    expect(await refusal('/me/memberOf?$search="displayName:a"')).toMatchObject({
      status: 400,
      code: 'Request_UnsupportedQuery',
    })
  })

  test.each([
    ['a cast without the header', `${cast}?$count=true`, {}],
    ['a cast without a count', cast, eventual],
    ['an ordered read without the header', '/me/memberOf?$orderby=displayName', {}],
  ])('%s is an unsupported query', async (_, path, headers) => {
    expect(await refusal(path, { headers })).toStrictEqual({
      status: 400,
      code: 'Request_UnsupportedQuery',
      message: 'Unsupported Query.',
    })
  })

  test('a filter on a property without an index is an unsupported query', async () => {
    const asked = refusal(`${cast}?$count=true&$filter=description eq 'x'`, { headers: eventual })
    expect(await asked).toMatchObject({ status: 400, code: 'Request_UnsupportedQuery' })
  })

  test('no token, and a token nobody issued, are 401 with a challenge', async () => {
    const none = await fetch(`${target.graphUrl}/v1.0/me`)
    expect(none.status).toBe(401)
    expect(none.headers.get('www-authenticate')).toMatch(/^Bearer realm="", authorization_uri="/)
    expect(errorBody.parse(await none.json()).error.code).toBe('InvalidAuthenticationToken')
    const forged = await refusal('/me', {
      on: { ...target, token: `${target.token.slice(0, -400)}${'A'.repeat(400)}` },
    })
    expect(forged).toMatchObject({ status: 401, code: 'InvalidAuthenticationToken' })
  })

  test('getMemberObjects answers ids, and security groups only when asked', async () => {
    const all = idList.parse(
      (await ask('/me/getMemberObjects', { body: { securityEnabledOnly: false } })).json,
    )
    const some = idList.parse(
      (await ask('/me/getMemberObjects', { body: { securityEnabledOnly: true } })).json,
    )
    expect(all['@odata.context']).toBe(`${target.graphUrl}/v1.0/$metadata#Collection(Edm.String)`)
    expect(some.value.length).toBeLessThan(all.value.length)
    expect(all.value).toEqual(expect.arrayContaining(some.value))
  })

  test('checkMemberGroups answers those of at most 20 ids that hold', async () => {
    const held = idList.parse(
      (await ask('/me/getMemberGroups', { body: { securityEnabledOnly: false } })).json,
    ).value
    const groupIds = [...held.slice(0, 3), crypto.randomUUID()]
    expect(
      idList.parse((await ask('/me/checkMemberGroups', { body: { groupIds } })).json).value,
    ).toStrictEqual(held.slice(0, 3))
    const many = { groupIds: held.slice(0, 21) }
    expect(await refusal('/me/checkMemberGroups', { body: many })).toMatchObject({ status: 400 })
  })

  test('an action without its parameter is a bad request', async () => {
    expect(await refusal('/me/getMemberGroups', { body: {} })).toMatchObject({
      status: 400,
      code: 'Request_BadRequest',
    })
  })

  test('every answer says what it cost', async () => {
    const cost = async (path: string, asked: Asked = {}) =>
      (await ask(path, asked)).headers.get('x-ms-resource-unit')
    expect(await cost('/me')).toBe('1')
    expect(await cost('/me/memberOf')).toBe('2')
    expect(await cost('/me/memberOf?$select=id')).toBe('1')
    expect(await cost('/me/memberOf?$top=10')).toBe('1')
    expect(await cost(`${cast}?$count=true`, { headers: eventual })).toBe('2')
    expect(await cost('/me/checkMemberGroups', { body: { groupIds: [] } })).toBe('4')
  })
})
