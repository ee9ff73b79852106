import { describe, expect, test } from 'vitest'
import { defaultApp, startSimulator } from '../src/simulator/index.ts'
import { minute, otherApp, startSubscriber } from './support/subscriber.ts'

const by = await startSubscriber()
const { webhook, ask, subscribe, refused, inMinutes } = by
const { tenant, notifications } = by.simulator

describe('a subscription', () => {
  test('is made once both addresses have answered with the decoded token', async () => {
    const made = await subscribe()
    expect(webhook.validations()).toBe(2)
    expect(made).toMatchObject({
      resource: 'groups',
      changeType: 'deleted,updated',
      applicationId: defaultApp.clientId,
      clientState: 'only we know',
      notificationUrl: webhook.url,
      expirationDateTime: inMinutes(41_760),
    })
    expect((await ask('GET', `/${made.id}`)).json).toMatchObject(made)
    expect((await ask('GET')).json).toMatchObject({ value: [{ id: made.id }] })
  })

  test.each(['encoded', 'html', 'refused'] as const)(
    'is not made where the token comes back %s',
    async (how) => {
      webhook.validate(how)
      expect(await refused({})).toMatchObject({ status: 400, code: 'ValidationError' })
      expect(notifications.subscriptions()).toStrictEqual([])
    },
  )

  test('is not made where nobody answers in time', async () => {
    notifications.set({ laterAnswerWithinMs: 50 })
    const silent = await startSimulator({ users: 0, groups: 0, https: false })
    silent.faults.next({ hang: true, times: 9 })
    expect(await refused({ notificationUrl: silent.graphUrl })).toMatchObject({ code: 'ValidationError' })
    await silent.close()
  })

  test.each([
    ['longer than 41,760 minutes', () => ({ expirationDateTime: inMinutes(41_761) })],
    ['that is over already', () => ({ expirationDateTime: inMinutes(-1) })],
    ['of created objects', () => ({ changeType: 'created' })],
    ['of something else', () => ({ resource: '/me/messages' })],
    ['at an http address elsewhere', () => ({ notificationUrl: 'http://webhook.example/' })],
    ['with a long client state', () => ({ clientState: 'x'.repeat(129) })],
  ])('%s is refused', async (_, changes) => {
    expect(await refused(changes())).toMatchObject({ status: 400, code: 'InvalidRequest' })
    expect(webhook.validations()).toBe(0)
  })

  test('takes https, unless http on loopback was allowed', async () => {
    notifications.set({ loopbackHttp: false })
    expect(await refused({})).toMatchObject({ status: 400, code: 'InvalidRequest' })
  })

  test('that exists already is a conflict, and the hundred and first is one too many', async () => {
    await subscribe()
    expect(await refused({ resource: 'groups', changeType: 'deleted,updated' })).toMatchObject({
      status: 409,
    })
    for (let index = 1; index < 100; index++) await subscribe({ resource: `groups/${crypto.randomUUID()}` })
    expect(await refused({ resource: 'users' })).toMatchObject({ status: 403, message: /100/ })
  })

  test('takes the permission that its resource takes', async () => {
    await by.become(['GroupMember.Read.All'])
    for (const resource of ['groups', 'users'])
      expect(await refused({ resource })).toMatchObject({ status: 403 })
    await by.become(['User.Read.All'])
    await subscribe({ resource: 'users' })
  })

  test('is renewed, and is gone when it was deleted or not renewed', async () => {
    const { id, expirationDateTime } = await subscribe({ expirationDateTime: inMinutes(1) })
    expect(expirationDateTime).toBe(inMinutes(45))
    const renewed = await ask('PATCH', `/${id}`, { expirationDateTime: inMinutes(60) })
    expect([renewed.status, renewed.json]).toMatchObject([200, { expirationDateTime: inMinutes(60) }])
    by.pass(59 * minute)
    expect((await ask('GET', `/${id}`)).status).toBe(200)
    by.pass(minute)
    expect((await ask('GET', `/${id}`)).status).toBe(404)
    tenant.renameGroup(by.group.id, 'Unheard')
    const other = await subscribe()
    expect((await ask('DELETE', `/${other.id}`)).status).toBe(204)
    tenant.renameGroup(by.group.id, 'Unheard of')
    await notifications.idle()
    expect([(await ask('GET')).json, webhook.requests()]).toMatchObject([{ value: [] }, 0])
  })

  test('is nothing to another app', async () => {
    const { id } = await subscribe()
    await by.become(['Group.Read.All'], otherApp.clientId)
    expect((await ask('GET')).json).toMatchObject({ value: [] })
    for (const method of ['GET', 'PATCH', 'DELETE'])
      expect((await ask(method, `/${id}`, method === 'GET' ? undefined : {})).status).toBe(404)
    await subscribe()
    expect(notifications.subscriptions()).toHaveLength(2)
  })
})
