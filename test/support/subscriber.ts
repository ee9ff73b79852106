import { afterAll, beforeEach, expect } from 'vitest'
import { z } from 'zod'
import {
  defaultApp,
  startSimulator,
  type Group,
  type Simulator,
  type User,
} from '../../src/simulator/index.ts'
import { appOnly } from './app-only.ts'
import { errorBody } from './graph-answers.ts'
import type { Target } from './graph-requests.ts'
import { startWebhook, type Webhook } from './webhook.ts'

export const minute = 60_000
export const otherApp = { ...defaultApp, clientId: crypto.randomUUID() }

const subscription = z.looseObject({ id: z.guid(), expirationDateTime: z.iso.datetime() })

export type Subscriber = {
  simulator: Simulator
  webhook: Webhook
  group: Group
  user: User
  /** Moves the simulator's clock on. */
  pass(milliseconds: number): void
  inMinutes(minutes: number): string
  /** Goes on as an app with these permissions. */
  become(roles: readonly string[], clientId?: string): Promise<void>
  ask(method: string, path?: string, body?: object): Promise<{ status: number; json: unknown }>
  /** Makes a subscription of all groups, with some of it changed. */
  subscribe(changes?: object): Promise<z.infer<typeof subscription>>
  /** Asks for one that will be refused. */
  refused(changes: object): Promise<{ status: number; code: string; message: string }>
}

/** Around the tests of the file that calls it: a tenant with a group and a user, and an app with a webhook. */
export async function startSubscriber(): Promise<Subscriber> {
  let now = Date.now()
  let on: Target
  const simulator = await startSimulator({
    users: 0,
    groups: 0,
    https: false,
    apps: [defaultApp, otherApp],
    now: () => now,
    notifications: { loopbackHttp: true, timeScale: 100_000 },
  })
  const webhook = await startWebhook()
  const ask: Subscriber['ask'] = async (method, path = '', body) => {
    const answer = await fetch(`${on.graphUrl}/v1.0/subscriptions${path}`, {
      method,
      headers: { authorization: `Bearer ${on.token}`, 'content-type': 'application/json' },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    })
    const text = await answer.text()
    const json: unknown = text === '' ? undefined : JSON.parse(text)
    return { status: answer.status, json }
  }
  const inMinutes = (minutes: number) => new Date(now + minutes * minute).toISOString()
  const post = async (changes: object) =>
    await ask('POST', '', {
      changeType: 'updated,deleted',
      notificationUrl: webhook.url,
      lifecycleNotificationUrl: webhook.lifecycleUrl,
      resource: '/groups',
      expirationDateTime: inMinutes(41_760),
      clientState: 'only we know',
      ...changes,
    })
  const subscriber: Subscriber = {
    simulator,
    webhook,
    group: simulator.tenant.addGroup({ displayName: 'First' }),
    user: simulator.tenant.addUser(),
    pass: (milliseconds) => void (now += milliseconds),
    inMinutes,
    async become(roles, clientId) {
      on = await appOnly(simulator, roles, clientId)
    },
    ask,
    async subscribe(changes = {}) {
      const { status, json } = await post(changes)
      expect(status).toBe(201)
      return subscription.parse(json)
    },
    async refused(changes) {
      const { status, json } = await post(changes)
      return { status, ...errorBody.parse(json).error }
    },
  }
  beforeEach(async () => {
    simulator.reset()
    webhook.clear()
    subscriber.group = simulator.tenant.addGroup({ displayName: 'First' })
    subscriber.user = simulator.tenant.addUser()
    await subscriber.become(['Group.Read.All', 'User.Read.All'])
  })
  afterAll(async () => {
    await simulator.close()
    await webhook.close()
  })
  return subscriber
}
