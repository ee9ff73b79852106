import { describe, expect, test } from 'vitest'
import { z } from 'zod'
import { defaultApp, type Simulator, type User } from '../src/simulator/index.ts'
import { groupPage, objectPage } from './support/graph-answers.ts'
import { givenMember, missing, targetFor } from './support/graph-member.ts'
import { ask, cast, eventual, refusal, select, walk, type Target } from './support/graph-requests.ts'

let simulator: Simulator
let member: User
let target: Target

givenMember((given) => ({ simulator, member, target } = given))

describe('the simulated tenant behind it', () => {
  test('both reads agree with the directory', async () => {
    const pages = await walk(target, `${cast}?${select}&$top=999&$count=true`, groupPage)
    const direct = await walk(
      target,
      `/me/memberOf/microsoft.graph.group?${select}&$top=999&$count=true`,
      groupPage,
    )
    const ids = (read: typeof pages) => read.flatMap(({ value }) => value.map(({ id }) => id))
    const truth = (transitive: boolean) =>
      simulator.tenant.groupsOf(member.id, { transitive }).map(({ id }) => id)
    expect(ids(pages)).toStrictEqual(truth(true))
    expect(ids(direct)).toStrictEqual(truth(false))
    expect(ids(direct).length).toBeLessThan(ids(pages).length)
  })

  test('a token without a group permission sees ids and types of groups and nothing else', async () => {
    const on = await targetFor(simulator, member, 'openid User.Read')
    const page = objectPage.parse((await ask(on, '/me/memberOf?$top=999')).json)
    const group = page.value.find((object) => object['@odata.type'] === '#microsoft.graph.group')
    expect(group).toMatchObject({
      displayName: null,
      securityEnabled: null,
      mail: null,
      groupTypes: [],
      proxyAddresses: [],
    })
    expect(page.value.map(({ id }) => id)).not.toContain(null)
  })

  test('a token without User.Read cannot read me, and one with it cannot read others', async () => {
    const apart = await targetFor(simulator, member, 'openid GroupMember.Read.All')
    expect(await refusal(apart, '/me')).toMatchObject({
      status: 403,
      code: 'Authorization_RequestDenied',
    })
    const other = simulator.tenant.users().find(({ id }) => id !== member.id) ?? missing()
    expect(await refusal(target, `/users/${other.id}`)).toMatchObject({ status: 403 })
  })

  test('roles and units stay limited for the default app, which may read groups', async () => {
    const administrator = simulator.tenant.users()[0] ?? missing()
    const on = await targetFor(simulator, administrator)
    const page = objectPage.parse((await ask(on, '/me/memberOf?$top=999')).json)
    const types = new Map(page.value.map((object) => [object['@odata.type'], object.displayName]))
    expect(types.get('#microsoft.graph.directoryRole')).toBeNull()
    expect(types.get('#microsoft.graph.administrativeUnit')).toBeNull()
    expect(types.get('#microsoft.graph.group')).toEqual(expect.any(String))
  })

  test('a group with hidden membership is left out of its members lists without Member.Read.Hidden', async () => {
    const hidden = simulator.tenant.addGroup({
      displayName: 'Secret',
      kind: 'microsoft365',
      visibility: 'HiddenMembership',
    })
    const someone = simulator.tenant.addUser()
    simulator.tenant.addMember(hidden.id, someone.id)
    const on = await targetFor(simulator, someone)
    expect(objectPage.parse((await ask(on, '/me/memberOf')).json).value).toHaveLength(0)
    expect(simulator.tenant.groupsOf(someone.id)).toHaveLength(0)
    expect(simulator.tenant.groupsOf(someone.id, { hidden: true })).toHaveLength(1)
  })

  test('an app reads users by id or name, has no me, and meets 404 for who is gone', async () => {
    const answer = await fetch(`${simulator.entraUrl}/${simulator.tenant.id}/oauth2/v2.0/token`, {
      method: 'POST',
      body: new URLSearchParams({
        grant_type: 'client_credentials',
        client_id: defaultApp.clientId,
        client_secret: defaultApp.clientSecret ?? '',
        scope: 'https://graph.microsoft.com/.default',
      }),
    })
    const on = {
      ...target,
      token: z.object({ access_token: z.string() }).parse(await answer.json()).access_token,
    }
    const byName = await ask(on, `/users/${encodeURIComponent(member.userPrincipalName)}`)
    expect(byName.json).toMatchObject({ id: member.id })
    expect(await refusal(on, '/me')).toMatchObject({ status: 400, code: 'BadRequest' })
    expect(await refusal(on, `/users/${member.id}/memberOf`)).toMatchObject({ status: 403 })
    expect((await ask(on, `/users/${member.id}/transitiveMemberOf`)).status).toBe(200)
    const gone = crypto.randomUUID()
    expect(await refusal(on, `/users/${gone}`)).toStrictEqual({
      status: 404,
      code: 'Request_ResourceNotFound',
      message: `Resource '${gone}' does not exist or one of its queried reference-property objects are not present.`,
    })
    expect((await ask(on, '/users?$select=id&$top=999')).json).toHaveProperty(
      'value.length',
      simulator.tenant.users().length,
    )
  })

  test('members of a group are users and groups', async () => {
    const group =
      simulator.tenant.groups().find(({ displayName }) => displayName === 'Location: Europe') ?? missing()
    const read = z.object({ value: z.array(z.looseObject({ '@odata.type': z.string(), id: z.guid() })) })
    const direct = read.parse((await ask(target, `/groups/${group.id}/members`)).json).value
    const all = read.parse((await ask(target, `/groups/${group.id}/transitiveMembers?$top=999`)).json).value
    expect(new Set(direct.map((each) => each['@odata.type']))).toStrictEqual(
      new Set(['#microsoft.graph.group']),
    )
    expect(new Set(all.map((each) => each['@odata.type'])).size).toBe(2)
    expect((await ask(target, `/groups/${group.id}?$select=id,displayName`)).json).toMatchObject({
      displayName: 'Location: Europe',
    })
  })

  test('a group in a circle of nesting is in the others of it, not in itself', async () => {
    const [first, second] = ['First', 'Second'].map(
      (displayName) => simulator.tenant.addGroup({ displayName }).id,
    )
    simulator.tenant.nest(first ?? '', second ?? '')
    simulator.tenant.nest(second ?? '', first ?? '')
    const { json } = await ask(target, `/groups/${first}/transitiveMemberOf`)
    expect(groupPage.parse(json).value.map(({ id }) => id)).toStrictEqual([second])
  })

  test('filters, searches and orders what advanced queries can', async () => {
    const names = async (query: string) => {
      const { json } = await ask(target, `${cast}?$select=displayName&$count=true&$top=999&${query}`, {
        headers: eventual,
      })
      return z
        .object({ value: z.array(z.object({ displayName: z.string() })) })
        .parse(json)
        .value.map((each) => each.displayName)
    }
    expect(await names(`$filter=startswith(displayName,'archive 000')`)).toHaveLength(9)
    expect(await names(`$filter=displayName eq 'All Company' and securityEnabled eq true`)).toStrictEqual([
      'All Company',
    ])
    expect(await names('$search="displayName:company"')).toStrictEqual(['All Company'])
    const ordered = await names('$orderby=displayName desc')
    expect(ordered).toStrictEqual(ordered.toSorted((a, b) => b.localeCompare(a)))
  })

  test('an expired access token is 401', async () => {
    const on = await targetFor(simulator, member)
    simulator.expireAccessTokens(member.id)
    expect(await refusal(on, '/me')).toMatchObject({ status: 401, code: 'InvalidAuthenticationToken' })
    target = await targetFor(simulator, member)
    expect((await ask(target, '/me')).status).toBe(200)
  })

  test('a group that cannot be answered at once is refused by getMemberGroups', async () => {
    const crowded = simulator.tenant.addUser()
    for (let made = 0; made <= 11_000; made++)
      simulator.tenant.addMember(simulator.tenant.addGroup({ displayName: `Many ${made}` }).id, crowded.id)
    const on = await targetFor(simulator, crowded)
    const answer = await refusal(on, '/me/getMemberGroups', { body: { securityEnabledOnly: false } })
    expect(answer).toMatchObject({ status: 400, code: 'Directory_ResultSizeLimitExceeded' })
    simulator.reset()
    target = await targetFor(simulator, member)
  })
})
