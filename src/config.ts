import { readFileSync } from 'node:fs'
import { z } from 'zod'
import { ConfigInvalid, type ConfigProblem } from './errors.ts'
import {
  applicationList,
  connectionUrl,
  flag,
  integer,
  namedKeys,
  origin,
  secretList,
  type Application,
  type NamedKey,
} from './setting-shapes.ts'
import { sourcesProblems, type SourceConfig } from './source-config.ts'
import { requiredOfSource, sourceOfSettings, sourceSettings } from './source-settings.ts'
import { parseSourcesFile } from './sources-file.ts'
import { refuseNamedDatabase } from './url-rules.ts'

export type { NamedKey } from './setting-shapes.ts'
export type { SourceConfig } from './source-config.ts'

export type Config = {
  databaseUrl: string
  /** `redis:`, `rediss:` or `postgres:`. */
  queueUrl: string
  port: number
  /** Address to listen on; loopback unless told otherwise. */
  host: string
  /** Where browsers reach the gateway, no trailing slash. */
  publicUrl: string
  /** In the order they are offered in. */
  sources: readonly SourceConfig[]
  tokenKeys: readonly NamedKey[]
  sessionKeys: readonly NamedKey[]
  /** Seconds without a request, and in all, after which a session at the gateway is over. */
  session: { idleSeconds: number; lifeSeconds: number }
  /** Bearer keys that may post login events; empty = that route is closed. */
  apiKeys: readonly string[]
  /** Applications that local tokens are for. */
  applications: readonly Application[]
  /** Seconds for which a local token is good. */
  localTokenSeconds: number
  /** Password of the user `admin`; undefined = the admin pages are closed. */
  adminPassword: string | undefined
  /** Sync jobs one worker process runs at once. */
  syncConcurrency: number
  logLevel: LogLevel
  /** Start although Redis may evict keys. */
  allowEviction: boolean
  /** False for PgBouncer in transaction mode. */
  databasePrepare: boolean
}

export type LogLevel = (typeof logLevels)[number]

/** What a command needs of the configuration; the rest may be missing. */
export type ConfigNeeds = {
  /** Signs people in and serves HTTP: session keys. */
  gateway?: boolean
  /** Only the database (and the queue in it): `migrate`. */
  databaseOnly?: boolean
  /** The database and the keys of stored tokens: `keys rotate`. */
  tokenKeysOnly?: boolean
}

export type Environment = Readonly<Record<string, string | undefined>>

const logLevels = ['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent'] as const

const settings = {
  DATABASE_URL: connectionUrl('postgres:', 'postgresql:'),
  QUEUE_URL: connectionUrl('redis:', 'rediss:', 'postgres:', 'postgresql:').superRefine(refuseNamedDatabase),
  PORT: integer(0, 65_535),
  HOST: z.string().min(1),
  PUBLIC_URL: origin,
  TOKEN_ENCRYPTION_KEYS: namedKeys,
  SESSION_KEYS: namedKeys,
  SESSION_IDLE_MINUTES: integer(1, 525_600),
  SESSION_MAX_HOURS: integer(1, 8760),
  API_KEYS: secretList,
  APPLICATIONS: applicationList,
  LOCAL_TOKEN_MINUTES: integer(1, 60),
  ADMIN_PASSWORD: z.string().min(12, 'must have at least 12 characters'),
  SYNC_CONCURRENCY: integer(1, 1000),
  GUARD_MIN_REMOVALS: integer(1, 1_000_000),
  GUARD_MAX_SHARE: integer(1, 100),
  GUARD_RESYNC_MIN_REMOVALS: integer(1, 1_000_000_000),
  GUARD_RESYNC_MAX_SHARE: integer(1, 100),
  LOG_LEVEL: z.enum(logLevels, `must be one of ${logLevels.join(' ')}`),
  REDIS_ALLOW_EVICTION: flag,
  DATABASE_PREPARE: flag,
  SOURCES_FILE: z.string().min(1),
  ...sourceSettings,
} as const

type Settings = { [Name in keyof typeof settings]?: z.output<(typeof settings)[Name]> | undefined }

/**
 * The whole configuration from the environment and the files it names, frozen. An empty variable counts as unset.
 * @throws {ConfigInvalid} with every problem at once: what is missing for this command and what is malformed.
 */
export function loadConfig(environment: Environment = process.env, needs: ConfigNeeds = {}): Config {
  const { values, problems } = parseSettings(environment)
  const missing = (setting: string, message = 'is missing') => {
    if (!environment[setting]) problems.push({ setting, message })
  }
  missing('DATABASE_URL')
  if (!needs.databaseOnly) missing('TOKEN_ENCRYPTION_KEYS')
  const needsSources = !needs.databaseOnly && !needs.tokenKeysOnly
  if (needsSources && !environment['SOURCES_FILE'])
    for (const setting of requiredOfSource(environment)) missing(setting)
  if (needs.gateway) missing('SESSION_KEYS')
  const exchanging = (sources: readonly SourceConfig[]) => {
    if (needs.gateway && sources.some(({ enabled, exchange }) => enabled && exchange))
      missing('APPLICATIONS', 'is missing: tokens are exchanged for those of an application; name one')
  }
  const guards = guardsOf(values)
  if (needsSources && environment['SOURCES_FILE']) {
    const { sources, problems: told } = sourcesOfFile(environment, environment['SOURCES_FILE'], guards)
    problems.push(...told)
    exchanging(sources)
    if (problems.length > 0) throw new ConfigInvalid(problems)
    return freeze(values, sources)
  }
  const { source, problems: told } = sourceOfSettings(values, guards, readText)
  if (needsSources && problems.length === 0) {
    const clashes = told.length > 0 ? [] : sourcesProblems([source])
    problems.push(...told, ...clashes.map(({ message, setting = 'SOURCE_SLUG' }) => ({ setting, message })))
  }
  exchanging([source])
  if (problems.length > 0) throw new ConfigInvalid(problems)
  return freeze(values, [source])
}

const readText = (path: string) => readFileSync(path, 'utf8')

function guardsOf(values: Settings): Pick<SourceConfig, 'guard' | 'resyncGuard'> {
  return {
    guard: Object.freeze({
      minRemovals: values.GUARD_MIN_REMOVALS ?? 20,
      maxShare: (values.GUARD_MAX_SHARE ?? 50) / 100,
    }),
    resyncGuard: Object.freeze({
      minRemovals: values.GUARD_RESYNC_MIN_REMOVALS ?? 200,
      maxShare: (values.GUARD_RESYNC_MAX_SHARE ?? 10) / 100,
    }),
  }
}

/** Two places that tell of sources would leave open which one counts. */
function sourcesOfFile(
  environment: Environment,
  path: string,
  defaults: Pick<SourceConfig, 'guard' | 'resyncGuard'>,
): { sources: readonly SourceConfig[]; problems: ConfigProblem[] } {
  const beside = Object.keys(sourceSettings)
    .filter((name) => environment[name])
    .map((setting) => ({ setting, message: 'stands beside SOURCES_FILE: put it there' }))
  let text: string
  try {
    text = readText(path)
  } catch {
    const setting = 'SOURCES_FILE'
    return { sources: [], problems: [...beside, { setting, message: `${path} can't be read` }] }
  }
  const parts = { environment, readText, readBytes: readFileSync, defaults }
  const { sources, problems } = parseSourcesFile({ path, text }, parts)
  return { sources, problems: [...beside, ...problems] }
}

/**
 * Keys as TOKEN_ENCRYPTION_KEYS and SESSION_KEYS write them.
 * @throws {ConfigInvalid} naming each bad entry, never its key.
 */
export function parseNamedKeys(setting: string, text: string): NamedKey[] {
  const parsed = namedKeys.safeParse(text)
  if (parsed.success) return parsed.data
  throw new ConfigInvalid(parsed.error.issues.map(({ message }) => ({ setting, message })))
}

/** The process's own environment, for who has to add to it. */
export function readEnvironment(): Environment {
  return process.env
}

/** What is malformed, whatever a command needs. */
export function settingProblems(environment: Environment): ConfigProblem[] {
  return parseSettings(environment).problems
}

/** Which settings are given at all, for a start that fills in the rest by itself. */
export function givenSettings(environment: Environment): ReadonlySet<string> {
  return new Set(Object.keys(settings).filter((name) => environment[name]))
}

function parseSettings(environment: Environment): { values: Settings; problems: ConfigProblem[] } {
  const given = Object.fromEntries(
    Object.keys(settings).flatMap((name) => (environment[name] ? [[name, environment[name]]] : [])),
  )
  const parsed = z.object(settings).partial().safeParse(given)
  if (parsed.success) return { values: parsed.data, problems: [] }
  const problems = parsed.error.issues.map(({ path, message }) => ({ setting: path.join('.'), message }))
  return { values: {}, problems }
}

function freeze(values: Settings, sources: readonly SourceConfig[]): Config {
  const port = values.PORT ?? 3000
  const databaseUrl = values.DATABASE_URL ?? ''
  return Object.freeze<Config>({
    databaseUrl,
    queueUrl: values.QUEUE_URL ?? databaseUrl,
    port,
    host: values.HOST ?? '127.0.0.1',
    publicUrl: values.PUBLIC_URL ?? `http://localhost:${port}`,
    sources: Object.freeze(sources),
    tokenKeys: values.TOKEN_ENCRYPTION_KEYS ?? [],
    sessionKeys: values.SESSION_KEYS ?? [],
    session: Object.freeze({
      idleSeconds: (values.SESSION_IDLE_MINUTES ?? 120) * 60,
      lifeSeconds: (values.SESSION_MAX_HOURS ?? 12) * 3600,
    }),
    apiKeys: values.API_KEYS ?? [],
    applications: Object.freeze(values.APPLICATIONS ?? []),
    localTokenSeconds: (values.LOCAL_TOKEN_MINUTES ?? 10) * 60,
    adminPassword: values.ADMIN_PASSWORD,
    syncConcurrency: values.SYNC_CONCURRENCY ?? 10,
    logLevel: values.LOG_LEVEL ?? 'info',
    allowEviction: values.REDIS_ALLOW_EVICTION ?? false,
    databasePrepare: values.DATABASE_PREPARE ?? true,
  })
}
