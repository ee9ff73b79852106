import { randomBytes } from 'node:crypto'
import path from 'node:path'
import { migrateDatabase } from '../db/migrate.ts'
import { startWorkers } from '../workers/main.ts'
import { givenSettings, loadConfig, settingProblems, type Config, type Environment } from './config.ts'
import { openContext, type Context } from './context.ts'
import { startUpFailure } from './database-failure.ts'
import { keepSettings } from './embedded/kept-settings.ts'
import { keepSecrets, type KeptSecrets } from './embedded/keys.ts'
import { freePort } from './embedded/ports.ts'
import { startEmbeddedPostgres } from './embedded/postgres.ts'
import { ConfigInvalid, type ConfigProblem } from './errors.ts'
import { createLog } from './log.ts'
import { requiredOfSource } from './source-settings.ts'
import { serveGateway } from './serve.ts'
import {
  defaultApp,
  defaultClientId,
  defaultClientSecret,
  startSimulator,
  type Simulator,
} from './simulator/index.ts'
import { unlessAborted } from './unless-aborted.ts'
import { within } from './within.ts'

export type StartOptions = {
  environment: Environment
  /** Where the embedded database and generated secrets are kept between runs. */
  home: string
  /** Size of the simulated tenant. */
  users: number
  /** Says what is happening, a line at a time. */
  say: (line: string) => void
  /** Gives up starting: what was started is stopped, then it rejects. */
  signal?: AbortSignal
}

export type Started = {
  config: Config
  context: Context
  /** Undefined where a real tenant is configured. */
  simulator: Simulator | undefined
  secrets: KeptSecrets
  /** What was brought along, for other commands while this goes on. */
  settingsFile: string
  /** Stops everything, last started first. */
  stop: () => Promise<void>
}

const entraSettings = [
  'ENTRA_TENANT_ID',
  'ENTRA_CLIENT_ID',
  'ENTRA_CLIENT_SECRET',
  'ENTRA_AUTHORITY_HOST',
  'GRAPH_BASE_URL',
]
const keySettings = ['TOKEN_ENCRYPTION_KEYS', 'SESSION_KEYS']

const defaultPort = 3000

/** Milliseconds that a part gets to open after all when the start is given up, so that it can be closed. */
const lateMs = 2000

/**
 * Gateway and workers in one process, on whatever is configured; what isn't is brought along: PostgreSQL, the queue in
 * it, a simulated tenant, keys.
 * @throws {ConfigInvalid} for a configuration that is malformed or half set; nothing is left running.
 */
export async function start(options: StartOptions): Promise<Started> {
  const { environment, home, say, signal } = options
  const given = givenSettings(environment)
  const problems = [...settingProblems(environment), ...halfSet(given)]
  if (problems.length > 0) throw new ConfigInvalid(problems)

  const closers: (() => Promise<void>)[] = []
  const stop = async () => {
    for (const closer of closers.splice(0).toReversed()) await closer()
  }
  // A part that opens a little too late is closed all the same.
  const open = async <Part>(opening: Promise<Part>, close: (part: Part) => Promise<void>): Promise<Part> => {
    closers.push(async () => {
      if (await within(lateMs, opening)) await close(await opening)
    })
    return await unlessAborted(signal, opening)
  }
  try {
    const secrets = keepSecrets(home)
    const filled: Record<string, string | undefined> = { ...defaults(secrets), ...nonEmpty(environment) }
    if (!given.has('DATABASE_URL')) {
      const postgres = await startEmbeddedPostgres({ home, database: 'entra_group_sync', signal })
      closers.push(postgres.stop)
      filled['DATABASE_URL'] = postgres.url
      say(
        `PostgreSQL ${postgres.takenOver ? 'of a killed run taken over' : 'started'}, data in ${path.join(home, 'postgres')}`,
      )
    }
    filled['PORT'] ||= String(await gatewayPort(filled['PUBLIC_URL']))
    const simulator =
      given.has('ENTRA_TENANT_ID') || given.has('SOURCES_FILE')
        ? undefined
        : await startSimulator({ users: options.users, https: false, apps: [{ ...defaultApp, ownRoles }] })
    if (simulator) {
      closers.push(() => simulator.close())
      Object.assign(filled, simulatorSettings(simulator), demoSettings(), nonEmpty(environment))
      const { tenant, entraUrl, graphUrl } = simulator
      say(
        `Simulated tenant of ${tenant.users().length} users and ${tenant.groups().length} groups at ${entraUrl} and ${graphUrl}`,
      )
    }
    const config = loadConfig(filled, { gateway: true })
    const log = createLog(config.logLevel)
    await open(migrateDatabase(config.databaseUrl, signal), async () => undefined)
    const opening = openContext(config, log, { withoutQueue: 'refuse', signal })
    const context = await open(opening, (opened) => opened.close())
    const starting = startWorkers(context, {
      concurrency: config.syncConcurrency,
      notifications: { publicUrl: config.publicUrl },
    })
    await open(starting, (workers) => workers.stop())
    signal?.throwIfAborted()
    const gateway = await serveGateway(context)
    closers.push(gateway.close)
    say(
      `Gateway at ${config.publicUrl}, queue in ${context.backend.kind === 'redis' ? 'Redis' : 'PostgreSQL'}`,
    )
    filled['PUBLIC_URL'] = config.publicUrl
    const kept = keepSettings(home, broughtAlong(filled, environment))
    closers.push(kept.remove)
    return { config, context, simulator, secrets, settingsFile: kept.file, stop }
  } catch (error) {
    await stop()
    throw startUpFailure(error)
  }
}

/**
 * Where PORT is not set. Without PUBLIC_URL any port will do, since the URL follows it. With one, browsers or a proxy come
 * to a certain port: the URL's own where it leads straight to the gateway, else the default.
 * @throws {ConfigInvalid} naming PORT where that one is taken.
 */
async function gatewayPort(publicUrl: string | undefined): Promise<number> {
  if (publicUrl === undefined) return await freePort(defaultPort)
  const { protocol, port: told } = new URL(publicUrl)
  const port = protocol === 'http:' && told !== '' ? Number(told) : defaultPort
  if ((await freePort(port)) === port) return port
  const message = `is not set, and ${port}, which goes with PUBLIC_URL, is taken by another program; free it, or set PORT and PUBLIC_URL to another`
  throw new ConfigInvalid([{ setting: 'PORT', message }])
}

/** App roles of the simulated app's own API, which it has itself. */
const ownRoles = ['Demo.Read', 'groups.read.all']

/** Local tokens to look at, for the app itself and whoever signs in, and an API to ask; as long as this start goes on. */
function demoSettings(): Record<string, string> {
  const secret = () => randomBytes(24).toString('base64url')
  return {
    APPLICATIONS: `demo=${secret()}`,
    API_KEYS: secret(),
    EXCHANGE: 'app',
    EXCHANGE_CALLERS: defaultClientId,
  }
}

/** What `simulate` prints and `start` sets, for a gateway or worker to use a simulated tenant. */
export function simulatorSettings({ tenant, entraUrl, graphUrl }: Simulator): Record<string, string> {
  return {
    ENTRA_TENANT_ID: tenant.id,
    ENTRA_CLIENT_ID: defaultClientId,
    ENTRA_CLIENT_SECRET: defaultClientSecret,
    ENTRA_AUTHORITY_HOST: entraUrl,
    GRAPH_BASE_URL: graphUrl,
    TENANT_SIZE: tenantSize(tenant.users().length),
  }
}

/** As Graph sizes tenants for its limits (Graph docs: throttling-limits). */
function tenantSize(users: number): 'S' | 'M' | 'L' {
  if (users < 50) return 'S'
  return users <= 500 ? 'M' : 'L'
}

/** A real tenant needs all of its settings, and on a database that outlives this folder also keys that do. */
function halfSet(given: ReadonlySet<string>): ConfigProblem[] {
  const told = ['SOURCES_FILE', ...entraSettings].filter((name) => given.has(name))
  const [first] = told
  if (first === undefined) return []
  const present = Object.fromEntries([...given].map((name) => [name, name]))
  const ofSource = first === 'SOURCES_FILE' ? [] : requiredOfSource(present)
  const required = given.has('DATABASE_URL') ? [...ofSource, ...keySettings] : ofSource
  return required
    .filter((name) => !given.has(name))
    .map((setting) => ({
      setting,
      message: `is missing, since ${first} is set; set it, or unset ENTRA_*, GRAPH_BASE_URL and SOURCES_FILE for the simulated tenant`,
    }))
}

function defaults(secrets: KeptSecrets): Record<string, string> {
  return {
    TOKEN_ENCRYPTION_KEYS: secrets.tokenKeys,
    SESSION_KEYS: secrets.sessionKeys,
    ADMIN_PASSWORD: secrets.adminPassword,
    LOG_LEVEL: 'warn',
  }
}

/** What the environment has stays there; and a port is one gateway's. */
function broughtAlong(filled: Record<string, string | undefined>, environment: Environment) {
  return Object.fromEntries(Object.entries(filled).filter(([name]) => !environment[name] && name !== 'PORT'))
}

function nonEmpty(environment: Environment): Record<string, string | undefined> {
  return Object.fromEntries(Object.entries(environment).filter(([, value]) => value))
}
