import type { NotificationAttempt, NotificationSettings } from './settings.ts'

export type Parcel = { subscriptionId: string; url: string; items: readonly object[] }

export type Deliveries = {
  send(parcel: Parcel): void
  /** Keeps `idle` waiting until told that it is over; for what will be sent later. */
  begin(): () => void
  drop(requests: number): void
  attempts(): NotificationAttempt[]
  idle(): Promise<void>
  /** Sends nothing any more of what was begun so far. */
  stop(): void
}

/** Graph tries for up to four hours; its waits between are not documented, these double from ten seconds on. */
const tryFor = 4 * 60 * 60 * 1000
const firstWait = 10_000
const attemptsKept = 10_000

/** Sends notifications, and again what wasn't answered with 2xx in time (Graph docs: change-notifications-delivery-webhooks). */
export function createDeliveries(settings: () => Required<NotificationSettings>): Deliveries {
  let attempts: NotificationAttempt[] = []
  let toDrop = 0
  let running = 0
  let stopping = new AbortController()
  const waiters: (() => void)[] = []
  const begin = (): (() => void) => {
    running += 1
    const { signal } = stopping
    return () => {
      if (signal.aborted) return
      running -= 1
      if (running === 0) for (const waiter of waiters.splice(0)) waiter()
    }
  }
  const note = (
    { subscriptionId, url, items }: Parcel,
    attempt: number,
    result: NotificationAttempt['result'],
  ): void => {
    if (attempts.length >= attemptsKept * 2) attempts = attempts.slice(-attemptsKept)
    attempts.push({ subscriptionId, url, attempt, result, notifications: items.length })
  }
  const attempt = async (parcel: Parcel, number: number, waited: number, done: () => void): Promise<void> => {
    const { signal } = stopping
    const { answerWithinMs, laterAnswerWithinMs, timeScale } = settings()
    const result = await post(parcel, number === 1 ? answerWithinMs : laterAnswerWithinMs, signal)
    if (signal.aborted) return
    note(parcel, number, result)
    const wait = firstWait * 2 ** (number - 1)
    if ((typeof result === 'number' && result < 300) || waited + wait > tryFor) {
      done()
      return
    }
    const timer = setTimeout(() => void attempt(parcel, number + 1, waited + wait, done), wait / timeScale)
    // A simulator that nobody closed must not keep its process alive.
    timer.unref()
    signal.addEventListener('abort', () => clearTimeout(timer), { once: true })
  }
  return {
    begin,
    send(parcel) {
      if (toDrop > 0) {
        toDrop -= 1
        note(parcel, 1, 'dropped')
        return
      }
      for (let copy = 0; copy < settings().copies; copy++) void attempt(parcel, 1, 0, begin())
    },
    drop(requests) {
      toDrop = requests
    },
    attempts: () => [...attempts],
    idle: () => (running === 0 ? Promise.resolve() : new Promise((resolve) => waiters.push(resolve))),
    stop() {
      stopping.abort()
      stopping = new AbortController()
      attempts = []
      toDrop = 0
      running = 0
      for (const waiter of waiters.splice(0)) waiter()
    },
  }
}

async function post(
  { url, items }: Parcel,
  withinMs: number,
  stopping: AbortSignal,
): Promise<number | 'failed'> {
  try {
    const answer = await fetch(url, {
      method: 'POST',
      headers: { 'content-type': 'application/json; charset=utf-8' },
      body: JSON.stringify({ value: items }),
      redirect: 'manual',
      signal: AbortSignal.any([stopping, AbortSignal.timeout(withinMs)]),
    })
    await answer.arrayBuffer()
    return answer.status
  } catch {
    return 'failed'
  }
}

/**
 * Whether an address answers the question that proves it to be the subscriber's: 200, plain text, the decoded token
 * (Graph docs: change-notifications-delivery-webhooks, notificationUrl validation).
 */
export async function answersValidation(url: string, withinMs: number): Promise<boolean> {
  // Spaces and colons tell who decodes the token from who echoes it as it came.
  const token = `Validation: Testing client application reachability for subscription Request-Id: ${crypto.randomUUID()}`
  const asked = `${url}${url.includes('?') ? '&' : '?'}validationToken=${encodeURIComponent(token)}`
  try {
    const answer = await fetch(asked, {
      method: 'POST',
      headers: { 'content-type': 'text/plain; charset=utf-8' },
      redirect: 'manual',
      signal: AbortSignal.timeout(withinMs),
    })
    const text = await answer.text()
    return (
      answer.status === 200 &&
      text === token &&
      answer.headers.get('content-type')?.toLowerCase().startsWith('text/plain') === true
    )
  } catch {
    return false
  }
}
