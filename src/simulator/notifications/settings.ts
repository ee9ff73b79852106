/** How subscriptions and their notifications behave. */
export type NotificationSettings = {
  /** Takes `http://` addresses on loopback too: Graph takes https alone. Default false. */
  loopbackHttp?: boolean
  /** How long a change waits for others to be told with it, in milliseconds. Graph names no time. Default 0. */
  delayMs?: number
  /** How many notifications one request holds at most. Default 100. */
  perRequest?: number
  /** How often each request is sent; a notification may come twice. Default 1. */
  copies?: number
  /** A notification answered later than this is sent again (Graph docs: change-notifications-delivery-webhooks). Default 3 s. */
  answerWithinMs?: number
  /** The same for one that is sent again, and for the question whether an address is the subscriber's. Default 10 s. */
  laterAnswerWithinMs?: number
  /** Waits before sending again are divided by this, so that four hours needn't be waited for. Default 1. */
  timeScale?: number
}

export const initialSettings: Required<NotificationSettings> = {
  loopbackHttp: false,
  delayMs: 0,
  perRequest: 100,
  copies: 1,
  answerWithinMs: 3_000,
  laterAnswerWithinMs: 10_000,
  timeScale: 1,
}

/** Of users and groups Graph documents the first alone; the others are sent because a test says so. */
export type LifecycleEvent = 'reauthorizationRequired' | 'subscriptionRemoved' | 'missed'

/** One request that was to bring notifications, and what became of it. */
export type NotificationAttempt = {
  subscriptionId: string
  url: string
  /** Counted from 1. */
  attempt: number
  /** The status of the answer; `failed` for none, or none in time; `dropped` for what wasn't sent. */
  result: number | 'failed' | 'dropped'
  notifications: number
}

/** A subscription as Graph shows it (Graph docs: resources/subscription). */
export type Subscription = {
  readonly id: string
  readonly applicationId: string
  readonly resource: string
  readonly changeType: string
  readonly clientState: string | null
  readonly notificationUrl: string
  readonly lifecycleNotificationUrl: string | null
  readonly expirationDateTime: string
  readonly creatorId: string
  readonly includeResourceData: false
  readonly latestSupportedTlsVersion: 'v1_2'
  readonly encryptionCertificate: null
  readonly encryptionCertificateId: null
  readonly notificationQueryOptions: null
  readonly notificationUrlAppId: null
}

export type NotificationControl = {
  /** Changes what is given from the next request on; what is left out stays. */
  set(settings: NotificationSettings): void
  subscriptions(): Subscription[]
  /** The next requests that would bring notifications are not sent at all, default all of them until told 0. */
  drop(requests?: number): void
  /**
   * Tells the subscriber of a lifecycle event, where it gave an address for them. After `reauthorizationRequired` its
   * notifications wait until it reauthorizes or renews; after `subscriptionRemoved` the subscription is gone.
   */
  lifecycle(event: LifecycleEvent, subscriptionId: string): void
  /** What was sent, oldest first, lifecycle events included. */
  attempts(): NotificationAttempt[]
  /** Resolves when nothing is left to be sent or to be sent again. */
  idle(): Promise<void>
}
