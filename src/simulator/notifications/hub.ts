import type { Directory } from '../directory/store.ts'
import { answersValidation, createDeliveries, type Deliveries } from './delivery.ts'
import { changesOf, isAbout, lifecycleNotificationOf, notificationOf, type NumberedMark } from './items.ts'
import {
  initialSettings,
  type NotificationControl,
  type NotificationSettings,
  type Subscription,
} from './settings.ts'

/** The subscriptions of one tenant, and what is sent to them. */
export type NotificationHub = NotificationControl & {
  settings(): Required<NotificationSettings>
  /** Adds or replaces. */
  save(subscription: Subscription): void
  remove(id: string): void
  /** Notifications that waited for it are sent. */
  reauthorize(id: string): void
  answersValidation(url: string): Promise<boolean>
  /** Without subscriptions, and silent, as at the start. */
  restart(): void
}

/** Starts without subscriptions; what the directory's journal keeps is told to those that come. */
export function createHub(options: {
  directory: Directory
  now: () => number
  settings: NotificationSettings | undefined
}): NotificationHub {
  const { directory, now } = options
  const { tenantId } = directory
  let settings = { ...initialSettings, ...options.settings }
  const deliveries = createDeliveries(() => settings)
  const registry = createRegistry(now)
  const send = ({ id, notificationUrl: url }: Subscription, items: readonly object[]): void => {
    for (let at = 0; at < items.length; at += settings.perRequest)
      deliveries.send({ subscriptionId: id, url, items: items.slice(at, at + settings.perRequest) })
  }
  const tell = (marks: readonly NumberedMark[]): void => {
    const changes = changesOf(directory, marks, new Date(now()))
    for (const subscription of registry.live()) {
      const about = changes.filter((change) => isAbout(subscription, change))
      const items = about.map((change) => notificationOf(subscription, change, tenantId))
      if (!registry.hold(subscription.id, items)) send(subscription, items)
    }
  }
  const collector = createCollector(deliveries, () => settings.delayMs, tell)
  directory.journal.listen((mark, position) => {
    if (registry.size() > 0) collector.add({ mark, position })
  })
  return {
    set(changes) {
      settings = { ...settings, ...changes }
    },
    settings: () => settings,
    subscriptions: () => registry.live(),
    save: (subscription) => registry.save(subscription),
    remove: (id) => registry.remove(id),
    reauthorize(id) {
      const held = registry.release(id)
      if (held) send(held.subscription, held.items)
    },
    answersValidation: (url) => answersValidation(url, settings.laterAnswerWithinMs),
    lifecycle(event, id) {
      const subscription = registry.live().find((each) => each.id === id)
      if (!subscription) throw new Error(`no such subscription in the simulated tenant: ${id}`)
      if (event === 'reauthorizationRequired') registry.pause(id)
      if (event === 'subscriptionRemoved') registry.remove(id)
      const url = subscription.lifecycleNotificationUrl
      const items = [lifecycleNotificationOf(subscription, event, tenantId)]
      if (url !== null) deliveries.send({ subscriptionId: id, url, items })
    },
    drop: (requests = Infinity) => deliveries.drop(requests),
    attempts: () => deliveries.attempts(),
    idle: () => deliveries.idle(),
    restart() {
      collector.clear()
      registry.clear()
      deliveries.stop()
      settings = { ...initialSettings, ...options.settings }
    },
  }
}

type Registry = {
  /** Those that aren't over. */
  live(): Subscription[]
  size(): number
  save(subscription: Subscription): void
  remove(id: string): void
  /** From now on its notifications are held. */
  pause(id: string): void
  /** Keeps notifications of a paused subscription; false of any other. */
  hold(id: string, items: readonly object[]): boolean
  /** Ends a pause, and gives what was held. */
  release(id: string): { subscription: Subscription; items: readonly object[] } | undefined
  clear(): void
}

function createRegistry(now: () => number): Registry {
  const subscriptions = new Map<string, Subscription>()
  const paused = new Map<string, object[]>()
  return {
    live() {
      for (const { id, expirationDateTime } of subscriptions.values())
        if (Date.parse(expirationDateTime) <= now()) subscriptions.delete(id)
      return [...subscriptions.values()]
    },
    size: () => subscriptions.size,
    save: (subscription) => void subscriptions.set(subscription.id, subscription),
    remove(id) {
      subscriptions.delete(id)
      paused.delete(id)
    },
    pause(id) {
      if (!paused.has(id)) paused.set(id, [])
    },
    hold(id, items) {
      const held = paused.get(id)
      held?.push(...items)
      return held !== undefined
    },
    release(id) {
      const items = paused.get(id)
      const subscription = subscriptions.get(id)
      paused.delete(id)
      return items && subscription ? { subscription, items } : undefined
    },
    clear() {
      subscriptions.clear()
      paused.clear()
    },
  }
}

/** Gathers what changes at about the same time, so that it is told together. */
function createCollector(
  deliveries: Deliveries,
  delayMs: () => number,
  tell: (marks: readonly NumberedMark[]) => void,
): { add(mark: NumberedMark): void; clear(): void } {
  let marks: NumberedMark[] = []
  let timer: NodeJS.Timeout | undefined
  return {
    add(mark) {
      marks.push(mark)
      if (timer) return
      const done = deliveries.begin()
      timer = setTimeout(() => {
        timer = undefined
        tell(marks.splice(0))
        done()
      }, delayMs())
      timer.unref()
    },
    clear() {
      clearTimeout(timer)
      timer = undefined
      marks = []
    },
  }
}
