import { writeFileSync } from 'node:fs'
import path from 'node:path'
import { migrateDatabase } from '../db/migrate.ts'
import { findResync } from '../db/resyncs.ts'
import { approveHeldRun } from './approve.ts'
import { loadConfig, readEnvironment } from './config.ts'
import { openContext } from './context.ts'
import { queueStartUpFailure, startUpFailure } from './database-failure.ts'
import { ConfigInvalid } from './errors.ts'
import { createLog } from './log.ts'
import { createProgress } from './progress.ts'
import { openQueueBackend } from './queue/backend.ts'
import { syncQueueName } from './queue/catalogue.ts'
import { createEnqueue } from './queue/enqueue.ts'
import { approveHeldResync } from './resync.ts'
import { serveGateway } from './serve.ts'
import { startSimulator } from './simulator/index.ts'
import { simulatorSettings, start, type Started } from './start.ts'
import { untilStopped } from './stopping.ts'
import { unlessAborted } from './unless-aborted.ts'
import { runWave, type Wave } from './wave.ts'

const print = (line: string) => void process.stdout.write(`${line}\n`)

/** `gateway`: until it is told to stop; told before it runs, it rejects with the signal's reason, as every command does. */
export async function runGateway(signal: AbortSignal): Promise<void> {
  const config = loadConfig(readEnvironment(), { gateway: true })
  const log = createLog(config.logLevel)
  const context = await openContext(config, log, { withoutQueue: 'goOn', signal })
  try {
    const gateway = await serveGateway(context)
    await untilStopped(signal)
    await gateway.close()
  } finally {
    await context.close()
  }
}

/** `migrate`: our tables, and BullMQ's where the queue is in Postgres. */
export async function runMigrate(signal: AbortSignal): Promise<void> {
  const config = loadConfig(readEnvironment(), { databaseOnly: true })
  await migrateDatabase(config.databaseUrl, signal).catch((error: unknown) => {
    throw startUpFailure(error)
  })
  const backend = await openQueueBackend({ url: config.queueUrl, use: 'worker', maxConnections: 1 })
  try {
    if (backend.kind === 'postgres') await unlessAborted(signal, backend.prepare({ signal }))
  } catch (error) {
    throw queueStartUpFailure(error, config)
  } finally {
    await backend.close()
  }
  print('The database is up to date.')
}

/** `approve`: prints the outcome of the run that followed; exit code 1 unless that one applied cleanly. */
export async function runApprove(
  runId: string,
  options: { wait: number },
  signal: AbortSignal,
): Promise<void> {
  if (!isUuid(runId))
    throw new ConfigInvalid([{ setting: '<run>', message: 'must be the id of a run, a UUID' }])
  const config = loadConfig()
  const context = await openContext(config, createLog(config.logLevel), { withoutQueue: 'goOn', signal })
  try {
    if (await findResync(context.db, runId)) {
      const parts = { db: context.db, enqueue: createEnqueue(context.producer) }
      const people = await unlessAborted(signal, approveHeldResync(parts, runId))
      return print(`Approved. ${people} people whose removals it held are read again.`)
    }
    const run = await unlessAborted(signal, approveHeldRun(context, runId, options.wait * 1000))
    if (!run) print('Approved. No worker has ended a run yet; the next one carries it out.')
    else
      print(
        `Approved. Run ${run.id}: ${run.outcome}, ${run.added} added, ${run.removed} removed, ${run.held} held.`,
      )
    if (run && !good.has(run.outcome)) process.exitCode = 1
  } finally {
    await context.close()
  }
}

const isUuid = (text: string) => /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i.test(text)

export type SimulateCommandOptions = {
  users: number
  seed: number
  entraPort: number
  graphPort: number
  /** File for the certificate of the authority made for this run; given, the tenant answers over https too. */
  ca?: string
}

/** `simulate`: until it is told to stop. */
export async function runSimulate(options: SimulateCommandOptions, signal: AbortSignal): Promise<void> {
  const simulator = await startSimulator({
    users: options.users,
    seed: options.seed,
    ports: { entra: options.entraPort, graph: options.graphPort },
    https: options.ca !== undefined,
    keep: 0,
  }).catch((error: unknown) => {
    throw portFailure(error, options)
  })
  try {
    signal.throwIfAborted()
    if (options.ca !== undefined && simulator.https) {
      writeCertificate(options.ca, simulator.https.caCertificate)
      print(`# With NODE_EXTRA_CA_CERTS=${path.resolve(options.ca)} also:`)
      print(`# ENTRA_AUTHORITY_HOST=${simulator.https.entraUrl}`)
      print(`# GRAPH_BASE_URL=${simulator.https.graphUrl}`)
    }
    for (const [name, value] of Object.entries(simulatorSettings(simulator))) print(`${name}=${value}`)
    await untilStopped(signal)
  } finally {
    await simulator.close()
  }
}

/** Node tells the port that it could not listen on beside the code. */
function portFailure(error: unknown, { entraPort }: SimulateCommandOptions): unknown {
  if (!(error instanceof Error && 'code' in error && 'port' in error)) return error
  const why = error.code === 'EADDRINUSE' ? 'is taken' : `can't be listened on (${String(error.code)})`
  return new ConfigInvalid([
    {
      setting: error.port === entraPort ? '--entra-port' : '--graph-port',
      message: `port ${String(error.port)} ${why}; give a free one, or 0 for any`,
    },
  ])
}

function writeCertificate(file: string, certificate: string): void {
  try {
    writeFileSync(file, certificate)
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? String(error.code) : 'unknown'
    throw new ConfigInvalid([
      { setting: '--ca', message: `${path.resolve(file)} can't be written (${code})` },
    ])
  }
}

export type StartCommandOptions = { exit?: true; users: number; json?: true; data: string }

/** `start`: brings everything up, signs the simulated tenant's people in, then stays up or, with `--exit`, ends. */
export async function runStart(options: StartCommandOptions, signal: AbortSignal): Promise<void> {
  const say = options.json ? () => undefined : print
  const started = await start({
    environment: readEnvironment(),
    home: path.resolve(options.data),
    users: options.users,
    say,
    signal,
  }).catch((error: unknown) => {
    signal.throwIfAborted()
    throw error
  })
  try {
    if (!started.simulator && options.exit) {
      throw new ConfigInvalid([
        {
          setting: '--exit',
          message: 'ends after the simulated sign-ins, which a real tenant does not have; leave it out',
        },
      ])
    }
    signal.throwIfAborted()
    if (started.simulator) {
      const wave = await signInEveryone(started, signal)
      signal.throwIfAborted()
      tell(wave, started, options)
    }
    if (!options.exit) {
      tellAddresses(started, say)
      await untilStopped(signal)
    }
  } finally {
    await started.stop()
  }
}

async function signInEveryone(started: Started, signal: AbortSignal): Promise<Wave> {
  const { config, context, simulator } = started
  const people = simulator?.tenant.users().map(({ userPrincipalName }) => userPrincipalName) ?? []
  const progress = createProgress(people.length)
  try {
    return await runWave({
      db: context.db,
      queue: context.backend.openQueue(syncQueueName),
      publicUrl: config.publicUrl,
      slug: config.sources[0]?.slug ?? '',
      userPrincipalNames: people,
      onProgress: progress.update,
      signal,
    })
  } finally {
    progress.stop()
  }
}

const good = new Set(['applied', 'unchanged'])

function tell(wave: Wave, { simulator }: Started, { json, exit }: StartCommandOptions): void {
  const { signInErrors, ...told } = wave
  const summary = { ...told, p50Ms: Math.round(told.p50Ms), p95Ms: Math.round(told.p95Ms) }
  const seconds = Math.round(wave.seconds * 10) / 10
  const people = simulator?.tenant.users().length ?? 0
  const bad = Object.entries(wave.outcomes).filter(([outcome]) => !good.has(outcome))
  const succeeded = signInErrors.length === 0 && bad.length === 0 && wave.users === people
  const failures = signInErrors.length + bad.reduce((sum, [, runs]) => sum + runs, 0)
  if (exit && !succeeded) process.exitCode = 1
  if (json) {
    print(JSON.stringify({ ...summary, seconds }))
    return
  }
  const outcomes = Object.entries(wave.outcomes).map(([outcome, runs]) => `${runs} ${outcome}`)
  print(`
  users           ${wave.users}
  groups created  ${wave.groupsCreated}
  memberships     ${wave.memberships}
  outcomes        ${outcomes.join(', ') || 'none'}
  failures        ${failures}
  sign-in to rows p50 ${summary.p50Ms} ms, p95 ${summary.p95Ms} ms
  seconds         ${seconds}
`)
  for (const message of new Set(signInErrors)) print(`  sign-in failed: ${message}`)
}

function tellAddresses(
  { config, context, secrets, settingsFile }: Started,
  say: (line: string) => void,
): void {
  say(`Sign in:  ${config.publicUrl}/`)
  say(`Queues:   ${config.publicUrl}/admin/queues  (user admin, ${passwordHint({ config, secrets })})`)
  say(`Database: psql '${config.databaseUrl}'`)
  if (context.backend.kind === 'redis') say(`Queue:    ${new URL(config.queueUrl).host}`)
  say(`Settings: ${settingsFile}  (for other commands meanwhile: node --env-file)`)
  say('Ctrl-C stops everything; what was synced is kept.')
}

function passwordHint({ config, secrets }: Pick<Started, 'config' | 'secrets'>): string {
  if (config.adminPassword !== secrets.adminPassword) return 'password from ADMIN_PASSWORD'
  return secrets.made ? `password ${secrets.adminPassword}, printed this once` : `password in ${secrets.file}`
}
