import { Hono } from 'hono'
import { z } from 'zod'
import { listen } from '../../src/gateway.ts'

const notification = z.looseObject({
  subscriptionId: z.guid(),
  tenantId: z.guid(),
  clientState: z.string().nullable(),
  subscriptionExpirationDateTime: z.iso.datetime(),
})
const body = z.strictObject({ value: z.array(notification).min(1) })

export type Notification = z.infer<typeof notification>

/** A subscriber's two addresses, which take what comes and answer as told. */
export type Webhook = {
  url: string
  lifecycleUrl: string
  /** What came to each, in the order of the requests; the second with a query string kept. */
  notifications(): Notification[]
  lifecycle(): Notification[]
  requests(): number
  /** Answers the next notifications with this status; `never` keeps them waiting until the test is over. */
  answer(status: number | 'never', times?: number): void
  /** How the handshake is answered instead of rightly. */
  validate(wrong: 'encoded' | 'html' | 'refused' | undefined): void
  validations(): number
  clear(): void
  close(): Promise<void>
}

export async function startWebhook(): Promise<Webhook> {
  const [changes, lifecycle]: Notification[][] = [[], []]
  const ordered: (number | 'never')[] = []
  let wrong: 'encoded' | 'html' | 'refused' | undefined
  let validations = 0
  let requests = 0
  const over = Promise.withResolvers<void>()
  const app = new Hono()
  for (const [path, taken] of [
    ['/changes', changes],
    ['/lifecycle', lifecycle],
  ] as const)
    app.post(path, async (c) => {
      const token = c.req.query('validationToken')
      if (token !== undefined) {
        validations += 1
        if (wrong === 'refused') return c.text(token, 401)
        if (wrong === 'html') return c.html(token)
        return c.text(wrong === 'encoded' ? encodeURIComponent(token) : token)
      }
      requests += 1
      const status = ordered.shift() ?? 202
      if (status === 'never') await over.promise
      else if (status < 300) taken?.push(...body.parse(await c.req.json()).value)
      return new Response(null, { status: status === 'never' ? 202 : status })
    })
  const server = await listen(app, { port: 0, host: '127.0.0.1', graceMs: 100 })
  return {
    url: `${server.url}/changes?kept=1`,
    lifecycleUrl: `${server.url}/lifecycle`,
    notifications: () => [...(changes ?? [])],
    lifecycle: () => [...(lifecycle ?? [])],
    requests: () => requests,
    answer: (status, times = 1) => void ordered.push(...Array.from({ length: times }, () => status)),
    validate: (how) => void (wrong = how),
    validations: () => validations,
    clear() {
      for (const list of [changes, lifecycle, ordered]) list?.splice(0)
      wrong = undefined
      validations = 0
      requests = 0
    },
    async close() {
      over.resolve()
      await server.close()
    },
  }
}
