import { describe, expect, test } from 'vitest'
import { z } from 'zod'
import { errorBody, objectPage } from './support/graph-answers.ts'
import { givenMember } from './support/graph-member.ts'
import {
  ask,
  cast,
  eventual,
  refusal,
  select,
  walk,
  type Asked,
  type Target,
} from './support/graph-requests.ts'

const guid = z.guid()
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

/** What the checks need: they hold for any Graph, given a user in more than 100 groups and their token. */
let target: Target

givenMember((given) => ({ target } = given))

describe('what any Microsoft Graph answers', () => {
  test('me is the signed-in user with the default properties', async () => {
    const { status, json, headers } = await ask(target, '/me')
    expect(status).toBe(200)
    expect(user.parse(json)).toMatchObject({
      id: target.objectId,
      userPrincipalName: target.userPrincipalName,
    })
    expect(user.parse(json)['@odata.context']).toBe(`${target.graphUrl}/v1.0/$metadata#users/$entity`)
    expect(headers.get('content-type')).toContain('odata.metadata=minimal')
  })

  test('a selection returns those properties and names them in the context', async () => {
    const { json } = await ask(target, '/me?$select=id,accountEnabled')
    expect(json).toStrictEqual({
      '@odata.context': `${target.graphUrl}/v1.0/$metadata#users(id,accountEnabled)/$entity`,
      id: target.objectId,
      accountEnabled: true,
    })
  })

  test('every answer carries a request id, and the client request id that was sent', async () => {
    const sent = crypto.randomUUID()
    const { headers } = await ask(target, '/me', { headers: { 'client-request-id': sent } })
    expect(guid.safeParse(headers.get('request-id')).success).toBe(true)
    expect(headers.get('client-request-id')).toBe(sent)
    const { json } = await ask(target, '/me/nothing', { headers: { 'client-request-id': sent } })
    expect(errorBody.parse(json).error.innerError['client-request-id']).toBe(sent)
  })

  test('a page holds 100 groups unless the request says otherwise', async () => {
    const [first] = await walk(target, `${cast}?${select}&$count=true`, groupPage)
    expect(first?.value).toHaveLength(100)
  })

  test('pages of 999 walk to the end without repeating a group, and only the first is counted', async () => {
    const pages = await walk(target, `${cast}?${select}&$top=999&$count=true`, groupPage)
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
    const [first] = await walk(target, `${cast}?${select}&$top=999&$count=true`, groupPage)
    const next = new URL(first?.['@odata.nextLink'] ?? '')
    expect(next.origin).toBe(target.graphUrl)
    expect(next.searchParams.get('$top')).toBe('999')
    expect(next.searchParams.get('$skiptoken')).toBeTruthy()
  })

  test('the second page needs the consistency header again', async () => {
    const [first] = await walk(target, `${cast}?${select}&$top=999&$count=true`, groupPage)
    expect(await refusal(target, first?.['@odata.nextLink'] ?? '')).toMatchObject({
      status: 400,
      code: 'Directory_ExpiredPageToken',
    })
  })

  test('a spoilt page token is refused', async () => {
    const asked = `${cast}?${select}&$count=true&$skiptoken=RFNwdAIAAQnonsense`
    expect(await refusal(target, asked, { headers: eventual })).toMatchObject({
      status: 400,
      code: 'Directory_ExpiredPageToken',
    })
  })

  test.each(['0', '1000', '-1'])('a page size of %s is refused', async (top) => {
    expect(await refusal(target, `/me/memberOf?$top=${top}`)).toStrictEqual({
      status: 400,
      code: 'Request_UnsupportedQuery',
      message: `Invalid page size specified: '${top}'. Must be between 1 and 999 inclusive.`,
    })
  })

  test('an uncast read mixes groups, directory roles and administrative units, each saying its type', async () => {
    const { json } = await ask(target, '/me/memberOf?$top=999')
    const page = objectPage.parse(json)
    expect(page['@odata.context']).toBe(`${target.graphUrl}/v1.0/$metadata#directoryObjects`)
    expect(page['@odata.nextLink']).toBeDefined()
  })

  test('counting is silently ignored without the consistency header', async () => {
    const { status, json } = await ask(target, '/me/memberOf?$count=true&$top=5')
    expect(status).toBe(200)
    expect(json).not.toHaveProperty('@odata.count')
  })

  test('a count path answers a plain number, and only with the consistency header', async () => {
    const counted = await ask(target, '/me/memberOf/$count', { headers: eventual })
    expect(counted.headers.get('content-type')).toContain('text/plain')
    expect(counted.text).toMatch(/^\d+$/)
    expect(await refusal(target, '/me/memberOf/$count')).toStrictEqual({
      status: 400,
      code: 'Request_BadRequest',
      message: '$count is not currently supported.',
    })
  })

  test('a search without the consistency header is refused', async () => {
    expect(await refusal(target, '/me/memberOf?$search="displayName:a"')).toMatchObject({
      status: 400,
      code: 'Request_UnsupportedQuery',
    })
  })

  test.each([
    ['a cast without the header', `${cast}?$count=true`, {}],
    ['a cast without a count', cast, eventual],
    ['an ordered read without the header', '/me/memberOf?$orderby=displayName', {}],
  ])('%s is an unsupported query', async (_, path, headers) => {
    expect(await refusal(target, path, { headers })).toStrictEqual({
      status: 400,
      code: 'Request_UnsupportedQuery',
      message: 'Unsupported Query.',
    })
  })

  test('a filter on a property without an index is an unsupported query', async () => {
    const asked = refusal(target, `${cast}?$count=true&$filter=description eq 'x'`, { headers: eventual })
    expect(await asked).toMatchObject({ status: 400, code: 'Request_UnsupportedQuery' })
  })

  test('no token, and a token nobody issued, are 401 with a challenge', async () => {
    const none = await fetch(`${target.graphUrl}/v1.0/me`)
    expect(none.status).toBe(401)
    expect(none.headers.get('www-authenticate')).toMatch(/^Bearer realm="", authorization_uri="/)
    expect(errorBody.parse(await none.json()).error.code).toBe('InvalidAuthenticationToken')
    const forged = await refusal(
      { ...target, token: `${target.token.slice(0, -400)}${'A'.repeat(400)}` },
      '/me',
    )
    expect(forged).toMatchObject({ status: 401, code: 'InvalidAuthenticationToken' })
  })

  test('getMemberObjects answers ids, and security groups only when asked', async () => {
    const all = idList.parse(
      (await ask(target, '/me/getMemberObjects', { body: { securityEnabledOnly: false } })).json,
    )
    const some = idList.parse(
      (await ask(target, '/me/getMemberObjects', { body: { securityEnabledOnly: true } })).json,
    )
    expect(all['@odata.context']).toBe(`${target.graphUrl}/v1.0/$metadata#Collection(Edm.String)`)
    expect(some.value.length).toBeLessThan(all.value.length)
    expect(all.value).toEqual(expect.arrayContaining(some.value))
  })

  test('checkMemberGroups answers those of at most 20 ids that hold', async () => {
    const held = idList.parse(
      (await ask(target, '/me/getMemberGroups', { body: { securityEnabledOnly: false } })).json,
    ).value
    const groupIds = [...held.slice(0, 3), crypto.randomUUID()]
    expect(
      idList.parse((await ask(target, '/me/checkMemberGroups', { body: { groupIds } })).json).value,
    ).toStrictEqual(held.slice(0, 3))
    const many = { groupIds: held.slice(0, 21) }
    expect(await refusal(target, '/me/checkMemberGroups', { body: many })).toMatchObject({ status: 400 })
  })

  test('an action without its parameter is a bad request', async () => {
    expect(await refusal(target, '/me/getMemberGroups', { body: {} })).toMatchObject({
      status: 400,
      code: 'Request_BadRequest',
    })
  })

  test('every answer says what it cost', async () => {
    const cost = async (path: string, asked: Asked = {}) =>
      (await ask(target, path, asked)).headers.get('x-ms-resource-unit')
    expect(await cost('/me')).toBe('1')
    expect(await cost('/me/memberOf')).toBe('2')
    expect(await cost('/me/memberOf?$select=id')).toBe('1')
    expect(await cost('/me/memberOf?$top=10')).toBe('1')
    expect(await cost(`${cast}?$count=true`, { headers: eventual })).toBe('2')
    expect(await cost('/me/checkMemberGroups', { body: { groupIds: [] } })).toBe('4')
  })
})
