import type { Context } from './context.ts'
import { createSubjectOf, isPassing } from './exchange.ts'
import { createGateway, listen } from './gateway.ts'
import { refusalOf, settleInvitation } from './login/admission.ts'
import type { SignInSource } from './login/sign-in-source.ts'
import type { OpenSource } from './open-source.ts'
import { syncQueueName } from './queue/catalogue.ts'
import { createSeal } from './sealing.ts'
import { createEnqueue } from './queue/enqueue.ts'

/** The gateway of a context, listening. Closing it stops accepting and waits for open requests. */
export async function serveGateway(
  context: Context,
): Promise<{ url: string; port: number; close: () => Promise<void> }> {
  const { config, db, loginSucceeded, backend, producer, log } = context
  const enqueue = createEnqueue(producer, {
    onFailure: (error) => log.warn({ err: error }, 'the queue took no jobs'),
  })
  const app = createGateway({
    publicUrl: config.publicUrl,
    sources: new Map([...context.sources].map(([slug, source]) => [slug, signInSourceOf(context, source)])),
    sessionKeys: config.sessionKeys,
    session: config.session,
    tokenKeyIds: config.tokenKeys.map(({ id }) => id),
    apiKeys: config.apiKeys,
    issuer: config.applications.length > 0 ? issuerOf(context) : undefined,
    adminPassword: config.adminPassword,
    db,
    loginSucceeded,
    syncNow: async ({ userId, tenantId, source }) =>
      await enqueue([{ userId, tenantId, source, cause: 'manual' }]),
    queues: [backend.openQueue(syncQueueName), backend.openBatchQueue(), backend.openResyncQueue()],
    log,
  })
  const listening = await listen(app, { port: config.port, host: config.host })
  log.info({ url: listening.url, publicUrl: config.publicUrl }, 'gateway listens')
  return listening
}

function issuerOf({ config, db, log, sources }: Context): Parameters<typeof createGateway>[0]['issuer'] {
  return {
    publicUrl: config.publicUrl,
    db,
    seal: createSeal(config.tokenKeys),
    applications: config.applications,
    apiKeys: config.apiKeys,
    lifeSeconds: config.localTokenSeconds,
    sources: [...sources.values()].flatMap(({ config: source, takesTenant, entra }) =>
      source.enabled && source.exchange
        ? [
            {
              slug: source.slug,
              clientId: source.clientId,
              rules: source.exchange,
              takesTenant,
              authorityOf: entra.authorityOf,
            },
          ]
        : [],
    ),
    subjectOf: createSubjectOf({ db, sources, log }),
    isPassing,
    log,
  }
}

function signInSourceOf({ db, loginSucceeded, log }: Context, source: OpenSource): SignInSource {
  const { config, entra, checkGroups } = source
  return {
    config,
    entra,
    loginSucceeded: async (user, options) => await loginSucceeded({ ...user, source: config.slug }, options),
    refusalOf: async (person) => await refusalOf({ db, checkGroups, log }, config, person),
    settle: async (person) => await settleInvitation(db, config, person),
  }
}
