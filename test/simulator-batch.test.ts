import { describe, expect, test } from 'vitest'
import { batchAnswer, groupPage } from './support/graph-answers.ts'
import { givenMember } from './support/graph-member.ts'
import { ask, cast, eventual, select, type Target } from './support/graph-requests.ts'

let target: Target

givenMember((given) => ({ target } = given))

describe('a batch', () => {
  const post = async (requests: unknown) => ask(target, '/$batch', { body: { requests } })
  const responses = async (requests: unknown) => {
    const { status, json } = await post(requests)
    expect(status).toBe(200)
    return new Map(batchAnswer.parse(json).responses.map((each) => [each.id, each]))
  }

  test('is 200 whatever its items are, and each keeps its own status, headers and body', async () => {
    const answers = await responses([
      { id: '1', method: 'GET', url: '/me?$select=id' },
      { id: '2', method: 'GET', url: `/users/${crypto.randomUUID()}` },
      { id: '3', method: 'GET', url: `${cast}?${select}&$count=true`, headers: eventual },
      { id: '4', method: 'GET', url: `${cast}?${select}&$count=true` },
      {
        id: '5',
        method: 'POST',
        url: 'me/getMemberObjects',
        headers: { 'Content-Type': 'application/json' },
        body: { securityEnabledOnly: false },
      },
    ])
    expect(answers.get('1')).toMatchObject({ status: 200, body: { id: target.objectId } })
    expect(answers.get('2')).toMatchObject({
      status: 403,
      body: { error: { code: 'Authorization_RequestDenied' } },
    })
    expect(answers.get('3')?.status).toBe(200)
    expect(groupPage.parse(answers.get('3')?.body)['@odata.nextLink']).toMatch(
      `${target.graphUrl}/v1.0${cast}?`,
    )
    expect(answers.get('4')).toMatchObject({
      status: 400,
      body: { error: { code: 'Request_UnsupportedQuery' } },
    })
    expect(answers.get('5')).toMatchObject({ status: 200, headers: { 'x-ms-resource-unit': '2' } })
  })

  test('answers 424 to what depends on a failure', async () => {
    const answers = await responses([
      { id: 'b', method: 'GET', url: '/me', dependsOn: ['a'] },
      { id: 'a', method: 'GET', url: '/nothing' },
      { id: 'c', method: 'GET', url: '/me' },
    ])
    expect([answers.get('a')?.status, answers.get('b')?.status, answers.get('c')?.status]).toStrictEqual([
      400, 424, 200,
    ])
  })

  test.each([
    [
      'more than 20 requests',
      Array.from({ length: 21 }, (_, id) => ({ id: String(id), method: 'GET', url: '/me' })),
    ],
    ['an id given twice', [1, 2].map(() => ({ id: '1', method: 'GET', url: '/me' }))],
    ['an absolute url', [{ id: '1', method: 'GET', url: 'https://graph.example/v1.0/me' }]],
    ['a batch in the batch', [{ id: '1', method: 'POST', url: '/$batch', body: { requests: [] } }]],
    ['a circle of dependencies', [{ id: '1', method: 'GET', url: '/me', dependsOn: ['1'] }]],
    ['no requests', undefined],
  ])('with %s is refused whole', async (_, requests) => {
    expect((await post(requests)).status).toBe(400)
  })
})
