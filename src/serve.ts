import type { Context } from './context.ts'
import { createGateway, listen } from './gateway.ts'
import { syncQueueName } from './queue/catalogue.ts'

/** The gateway of a context, listening. Closing it stops accepting and waits for open requests. */
export async function serveGateway(
  context: Context,
): Promise<{ url: string; port: number; close: () => Promise<void> }> {
  const { config, db, loginSucceeded, backend, log } = context
  const app = createGateway({
    publicUrl: config.publicUrl,
    source: config.source,
    sessionKeys: config.sessionKeys,
    apiKeys: config.apiKeys,
    adminPassword: config.adminPassword,
    db,
    loginSucceeded,
    queues: [backend.openQueue(syncQueueName)],
    log,
  })
  const listening = await listen(app, { port: config.port, host: config.host })
  log.info({ url: listening.url, publicUrl: config.publicUrl }, 'gateway listens')
  return listening
}
