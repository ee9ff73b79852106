import { afterEach, vi } from 'vitest'
import { freePort } from '../../src/embedded/ports.ts'
import { defaultClientId, type Subscription } from '../../src/simulator/index.ts'
import type { NotificationsOptions } from '../../workers/notifications.ts'
import { givenAppWorld } from './app-world.ts'
import { startHttpsFront, type HttpsFront } from './https-front.ts'
import type { World } from './world.ts'

/** Worlds whose gateway is reached over https, so that Graph can tell it of changes; and no schedule asks for any. */
export function givenNotifiedWorld() {
  const worlds = givenAppWorld()
  let front: HttpsFront | undefined
  afterEach(async () => {
    await front?.close()
    front = undefined
  })

  async function open(environment: Record<string, string> = {}): Promise<World> {
    const port = await freePort()
    front = await startHttpsFront(port)
    const settings = { PUBLIC_URL: front.url, PORT: String(port), RESYNC_SCHEDULE: 'off', ...environment }
    const world = await worlds.open('postgres', settings, {}, [front.caCertificate])
    world.simulator.appRoles(defaultClientId, ['User.Read.All', 'Group.Read.All'])
    await world.startGateway()
    return world
  }

  return { ...worlds, open }
}

/** Workers that look as often as they can, and ask about every change at once. */
export const attentive = ({ config }: World, more: NotificationsOptions = {}) => ({
  resync: { intervalMs: 20 },
  notifications: {
    publicUrl: config.publicUrl,
    intervalMs: 20,
    ...more,
    rhythm: { askEvery: 0, ...more.rhythm },
  },
})

/** The one subscription, once it is stored here as well. */
export async function subscribed({ db, simulator }: World): Promise<Subscription> {
  const subscription = await vi.waitUntil(
    async () => {
      const [row] = await db.$client<{ id: string }[]>`select subscription_id as id from subscriptions`
      return simulator.notifications.subscriptions().find(({ id }) => id === row?.id)
    },
    { timeout: 20_000, interval: 20 },
  )
  return subscription
}
