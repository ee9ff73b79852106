import { describe, expect, test } from 'vitest'
import { startSubscriber } from './support/subscriber.ts'

const by = await startSubscriber()
const { webhook, ask, subscribe, inMinutes } = by
const { tenant, notifications } = by.simulator

describe('a subscriber of groups', () => {
  test('is told of properties and of members, with its client state', async () => {
    const { id, expirationDateTime } = await subscribe()
    const goes = tenant.addUser()
    tenant.addMember(by.group.id, goes.id)
    await notifications.idle()
    webhook.clear()
    tenant.renameGroup(by.group.id, 'Second')
    tenant.addMember(by.group.id, by.user.id)
    tenant.removeMember(by.group.id, goes.id)
    await notifications.idle()
    const resource = `Groups/${by.group.id}`
    const both = {
      changeType: 'updated',
      clientState: 'only we know',
      resource,
      subscriptionExpirationDateTime: expirationDateTime,
      subscriptionId: id,
      tenantId: tenant.id,
    }
    const data = {
      '@odata.type': '#Microsoft.Graph.Group',
      '@odata.id': resource,
      id: by.group.id,
      organizationId: tenant.id,
    }
    expect(webhook.requests()).toBe(1)
    expect(webhook.notifications()).toStrictEqual([
      {
        ...both,
        resourceData: { ...data, eventTime: inMinutes(0), sequenceNumber: expect.any(Number) },
      },
      {
        ...both,
        resourceData: {
          ...data,
          'members@delta': [{ id: by.user.id }, { id: goes.id, '@removed': 'deleted' }],
        },
      },
    ])
  })

  test('hears of a soft deletion as an update, and as deleted of a purge', async () => {
    await subscribe({ changeType: 'deleted' })
    await subscribe({ changeType: 'updated' })
    tenant.deleteGroup(by.group.id)
    await notifications.idle()
    expect(webhook.notifications()).toMatchObject([{ changeType: 'updated' }])
    tenant.purgeGroup(by.group.id)
    await notifications.idle()
    expect(webhook.notifications()).toMatchObject([{ changeType: 'updated' }, { changeType: 'deleted' }])
  })

  test('hears nothing of users, and one of a single group nothing of others', async () => {
    await subscribe({ resource: `groups/${by.group.id}` })
    await subscribe({ resource: 'users' })
    tenant.updateUser(by.user.id, { displayName: 'Ada' })
    tenant.addGroup({ displayName: 'Other' })
    tenant.addMember(by.group.id, by.user.id)
    await notifications.idle()
    expect(
      webhook
        .notifications()
        .map(({ resource }) => resource)
        .toSorted(),
    ).toStrictEqual([`Groups/${by.group.id}`, `Users/${by.user.id}`])
  })

  test('is told again what it did not take in time or with 2xx, and no more once it has', async () => {
    notifications.set({ answerWithinMs: 100 })
    await subscribe()
    webhook.answer('never')
    webhook.answer(500, 2)
    tenant.renameGroup(by.group.id, 'Second')
    await notifications.idle()
    expect(notifications.attempts().map(({ attempt, result }) => [attempt, result])).toStrictEqual([
      [1, 'failed'],
      [2, 500],
      [3, 500],
      [4, 202],
    ])
    expect(webhook.notifications()).toHaveLength(1)
  })

  test('is not told any more after four hours of trying', async () => {
    await subscribe()
    webhook.answer(503, 50)
    tenant.renameGroup(by.group.id, 'Second')
    await notifications.idle()
    // Waits of 10 s that double: ten of them fit into four hours.
    expect(notifications.attempts()).toHaveLength(11)
    expect(webhook.notifications()).toStrictEqual([])
  })

  test('loses what is dropped, and gets twice what is copied', async () => {
    await subscribe()
    notifications.drop(1)
    tenant.renameGroup(by.group.id, 'Lost')
    await notifications.idle()
    expect(webhook.requests()).toBe(0)
    notifications.set({ copies: 2 })
    tenant.renameGroup(by.group.id, 'Heard')
    await notifications.idle()
    expect(webhook.notifications()).toHaveLength(2)
    expect(notifications.attempts().map(({ result }) => result)).toStrictEqual(['dropped', 202, 202])
  })

  test('gets a storm in requests of a hundred', async () => {
    await subscribe()
    for (let index = 0; index < 150; index++) tenant.addGroup({ displayName: `Group ${index}` })
    await notifications.idle()
    expect(
      notifications
        .attempts()
        .map((each) => each.notifications)
        .toSorted(),
    ).toStrictEqual([100, 50])
  })
})

describe('a lifecycle event', () => {
  const events = () => webhook.lifecycle().map(({ lifecycleEvent }) => lifecycleEvent)

  test.each(['POST', 'PATCH'])('reauthorizationRequired holds notifications until a %s', async (method) => {
    const { id, expirationDateTime } = await subscribe()
    notifications.lifecycle('reauthorizationRequired', id)
    await notifications.idle()
    expect(webhook.lifecycle()).toStrictEqual([
      {
        subscriptionId: id,
        subscriptionExpirationDateTime: expirationDateTime,
        tenantId: tenant.id,
        clientState: 'only we know',
        lifecycleEvent: 'reauthorizationRequired',
      },
    ])
    tenant.renameGroup(by.group.id, 'Held')
    await notifications.idle()
    expect(webhook.notifications()).toStrictEqual([])
    const { status } =
      method === 'POST'
        ? await ask('POST', `/${id}/reauthorize`)
        : await ask('PATCH', `/${id}`, { expirationDateTime: inMinutes(60) })
    expect(status).toBe(method === 'POST' ? 204 : 200)
    await notifications.idle()
    expect(webhook.notifications()).toHaveLength(1)
  })

  test('subscriptionRemoved ends the subscription, missed leaves it', async () => {
    const { id } = await subscribe()
    notifications.lifecycle('missed', id)
    await notifications.idle()
    expect((await ask('GET', `/${id}`)).status).toBe(200)
    notifications.lifecycle('subscriptionRemoved', id)
    await notifications.idle()
    expect(events()).toStrictEqual(['missed', 'subscriptionRemoved'])
    expect((await ask('GET', `/${id}`)).status).toBe(404)
  })

  test('is told to nobody who gave no address for it', async () => {
    const { id } = await subscribe({ lifecycleNotificationUrl: null })
    notifications.lifecycle('subscriptionRemoved', id)
    await notifications.idle()
    expect(notifications.attempts()).toStrictEqual([])
  })
})
