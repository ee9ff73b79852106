import { afterAll, expect, test } from 'vitest'
import { startSimulator, type User } from '../src/simulator/index.ts'
import { targetFor } from './support/graph-member.ts'
import { ask, refusal } from './support/graph-requests.ts'

const simulator = await startSimulator({ users: 3, groups: 4, https: false })
afterAll(() => simulator.close())

const profile = 'displayName,mail,userPrincipalName,otherMails,userType,accountEnabled'
const least = async (user: User) => await targetFor(simulator, user, 'openid User.Read')

test.each([
  ['a member', {}, { otherMails: [], userType: 'Member' }],
  ['a guest', { guest: true }, { otherMails: [expect.stringContaining('@')], userType: 'Guest' }],
  ['somebody without mail', { mail: null }, { mail: null, otherMails: [] }],
  ['a guest without mail', { guest: true, mail: null }, { mail: null, otherMails: [], userType: 'Guest' }],
  ['somebody with more addresses', { otherMails: ['a@b.example'] }, { otherMails: ['a@b.example'] }],
])('%s reads their own profile with User.Read alone', async (_, wanted, found) => {
  const user = simulator.tenant.addUser(wanted)
  const { displayName, userPrincipalName, mail } = user
  const { json } = await ask(await least(user), `/me?$select=${profile}`)
  expect(json).toStrictEqual({
    '@odata.context': expect.any(String),
    displayName,
    userPrincipalName,
    accountEnabled: true,
    userType: 'Member',
    mail,
    ...found,
  })
})

test('what has to be selected is not answered unless it is', async () => {
  const { json } = await ask(await least(simulator.tenant.addUser()), '/me')
  expect(json).toMatchObject({ id: expect.any(String), displayName: expect.any(String) })
  for (const name of ['otherMails', 'userType', 'accountEnabled']) expect(json).not.toHaveProperty(name)
})

test('a new name and a disabled account show at once', async () => {
  const user = simulator.tenant.addUser()
  const on = await least(user)
  const userPrincipalName = `renamed@${simulator.tenant.domain}`
  simulator.tenant.updateUser(user.id, { userPrincipalName, accountEnabled: false })
  expect((await ask(on, `/me?$select=${profile}`)).json).toMatchObject({
    userPrincipalName,
    accountEnabled: false,
  })
})

test('somebody finds out with User.Read alone which of some groups they are in, and about nobody else', async () => {
  const [user, other] = simulator.tenant.users()
  const on = await least(user ?? simulator.tenant.addUser())
  const mine = simulator.tenant.addGroup({ displayName: 'Mine' }).id
  const outer = simulator.tenant.addGroup({ displayName: 'Around mine' }).id
  const foreign = simulator.tenant.addGroup({ displayName: 'Not mine' }).id
  simulator.tenant.addMember(mine, on.objectId)
  simulator.tenant.nest(outer, mine)
  const body = { groupIds: [foreign, mine, outer, crypto.randomUUID()] }
  const { status, json } = await ask(on, '/me/checkMemberGroups', { body })
  expect([status, json]).toMatchObject([200, { value: [mine, outer] }])
  expect(await refusal(on, `/users/${other?.id}/checkMemberGroups`, { body })).toMatchObject({ status: 403 })
})
