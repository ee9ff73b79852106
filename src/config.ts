import { z } from 'zod'
import { ConfigInvalid, type ConfigProblem } from './errors.ts'
import { createGroupFilter, namePattern, type GroupFilter, type NamePattern } from './reconcile/filter.ts'
import { refuseBadPercent, refuseNamedDatabase, refusePath } from './url-rules.ts'

/** One configured Entra app registration people sign in through. */
export type SourceConfig = {
  slug: string
  name: string
  tenantId: string
  clientId: string
  clientSecret: string
  /** Origin of the authority, no trailing slash: `https://login.microsoftonline.com`. */
  authorityHost: string
  /** Origin of Graph, no version and no trailing slash: `https://graph.microsoft.com`. */
  graphBaseUrl: string
  groupRead: 'transitive' | 'direct'
  /** Resource units of Graph that all workers together use in ten seconds. */
  unitsPer10s: number
}

/** A key that seals tokens or signs cookies; the first of a list is the one in use, the others still open. */
export type NamedKey = { id: string; key: Uint8Array }

export type Config = {
  databaseUrl: string
  /** `redis:`, `rediss:` or `postgres:`. */
  queueUrl: string
  port: number
  /** Address to listen on; loopback unless told otherwise. */
  host: string
  /** Where browsers reach the gateway, no trailing slash. */
  publicUrl: string
  source: SourceConfig
  tokenKeys: readonly NamedKey[]
  sessionKeys: readonly NamedKey[]
  /** Bearer keys that may post login events; empty = that route is closed. */
  apiKeys: readonly string[]
  /** Password of the user `admin`; undefined = the admin pages are closed. */
  adminPassword: string | undefined
  /** Sync jobs one worker process runs at once. */
  syncConcurrency: number
  /** A plan that would remove at least so many of a person's memberships, and this share of them (0–1), is held. */
  guard: { minRemovals: number; maxShare: number }
  /** The same for all runs of one resync together, the share being that of the source's memberships. */
  resyncGuard: { minRemovals: number; maxShare: number }
  /** Which groups are kept; undefined = all. */
  groupFilter: GroupFilter | undefined
  logLevel: LogLevel
  /** Start although Redis may evict keys. */
  allowEviction: boolean
  /** False for PgBouncer in transaction mode. */
  databasePrepare: boolean
}

/** Resource units that Graph allows one app in one tenant in ten seconds, by the tenant's size (Graph docs: throttling-limits). */
const tenantSizes = {
  /** Below 50 users. */
  S: 3500,
  M: 5000,
  /** Above 500 users. */
  L: 8000,
} as const

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
const loopbackHosts = new Set(['localhost', '127.0.0.1', '[::1]'])

const integer = (min: number, max: number) =>
  z
    .string()
    .regex(/^\d+$/, `must be a whole number from ${min} to ${max}`)
    .transform(Number)
    .pipe(z.number().min(min, `must be at least ${min}`).max(max, `must be at most ${max}`))

const origin = z.string().transform((text, context) => {
  const url = URL.canParse(text) ? new URL(text) : undefined
  if (!url || !/^https?:$/.test(url.protocol)) {
    context.addIssue('must be an https URL')
  } else if (url.protocol === 'http:' && !loopbackHosts.has(url.hostname)) {
    context.addIssue('must be https: http is accepted for loopback hosts only')
  } else if (url.username || url.password || url.search || url.hash) {
    context.addIssue('must have no user, query or fragment')
  } else {
    return `${url.origin}${url.pathname}`.replace(/\/+$/, '')
  }
  return z.NEVER
})

const connectionUrl = (...protocols: string[]) =>
  z
    .string()
    .refine((text) => URL.canParse(text) && protocols.includes(new URL(text).protocol), {
      error: `must be a URL that starts with ${protocols.map((protocol) => `${protocol}//`).join(' or ')}`,
      abort: true,
    })
    .superRefine(refuseBadPercent)

const namedKeys = z.string().transform((text, context): NamedKey[] => {
  const keys: NamedKey[] = []
  for (const [index, entry] of text.split(',').entries()) {
    const parts = /^\s*([\w.-]{1,32}):([A-Za-z0-9+/_-]+={0,2})\s*$/.exec(entry)
    const key = Buffer.from(parts?.[2] ?? '', 'base64')
    if (!parts?.[1]) context.addIssue(`entry ${index + 1} must be kid:base64-of-32-bytes`)
    else if (key.length !== 32)
      context.addIssue(`entry ${index + 1} (${parts[1]}) has ${key.length} bytes, must have 32`)
    else if (keys.some(({ id }) => id === parts[1]))
      context.addIssue(`entry ${index + 1} repeats the key id ${parts[1]}`)
    else keys.push({ id: parts[1], key: new Uint8Array(key) })
  }
  return keys
})

const secretList = z.string().transform((text, context) => {
  const secrets = text.split(',').map((secret) => secret.trim())
  for (const [index, secret] of secrets.entries()) {
    if (secret.length < 24) context.addIssue(`entry ${index + 1} must have at least 24 characters`)
    // A header can't carry another: visible ASCII, RFC 9110 section 5.5.
    if (!/^[!-~]*$/.test(secret))
      context.addIssue(`entry ${index + 1} must have no space and only ASCII characters`)
  }
  return secrets
})

const flag = z.enum(['true', 'false'], 'must be true or false').transform((text) => text === 'true')
const guid = z
  .string()
  .regex(/^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i, 'must be a GUID')
  .transform((text) => text.toLowerCase())

const guidList = z.string().transform((text, context): string[] =>
  text.split(',').flatMap((entry, index) => {
    const parsed = guid.safeParse(entry.trim())
    if (!parsed.success) context.addIssue(`entry ${index + 1} must be a GUID`)
    return parsed.data ?? []
  }),
)

const pattern = z.string().transform((text, context): NamePattern => {
  try {
    return namePattern(text)
  } catch {
    context.addIssue('must be a pattern in RE2 syntax: no back-references, no look-around')
    return z.NEVER
  }
})

const settings = {
  DATABASE_URL: connectionUrl('postgres:', 'postgresql:'),
  QUEUE_URL: connectionUrl('redis:', 'rediss:', 'postgres:', 'postgresql:').superRefine(refuseNamedDatabase),
  PORT: integer(0, 65_535),
  HOST: z.string().min(1),
  PUBLIC_URL: origin,
  ENTRA_TENANT_ID: guid,
  ENTRA_CLIENT_ID: guid,
  ENTRA_CLIENT_SECRET: z.string().min(1),
  ENTRA_AUTHORITY_HOST: origin.superRefine(refusePath),
  GRAPH_BASE_URL: origin.superRefine(refusePath),
  TOKEN_ENCRYPTION_KEYS: namedKeys,
  SESSION_KEYS: namedKeys,
  API_KEYS: secretList,
  ADMIN_PASSWORD: z.string().min(12, 'must have at least 12 characters'),
  SYNC_CONCURRENCY: integer(1, 1000),
  GUARD_MIN_REMOVALS: integer(1, 1_000_000),
  GUARD_MAX_SHARE: integer(1, 100),
  TENANT_SIZE: z.enum(['S', 'M', 'L'], 'must be S, M or L'),
  GRAPH_UNITS_PER_10S: integer(10, 1_000_000),
  GUARD_RESYNC_MIN_REMOVALS: integer(1, 1_000_000_000),
  GUARD_RESYNC_MAX_SHARE: integer(1, 100),
  GROUP_FILTER_SECURITY_ENABLED: flag,
  GROUP_FILTER_UNIFIED: z.enum(['only', 'exclude'], 'must be only or exclude'),
  GROUP_FILTER_IDS: guidList,
  GROUP_FILTER_NAMES: pattern,
  GROUP_FILTER_EXCLUDE_NAMES: pattern,
  GROUP_READ: z.enum(['transitive', 'direct'], 'must be transitive or direct'),
  LOG_LEVEL: z.enum(logLevels, `must be one of ${logLevels.join(' ')}`),
  SOURCE_SLUG: z
    .string()
    .regex(/^[a-z0-9][a-z0-9-]{0,62}$/, 'must be lower-case letters, digits and hyphens'),
  REDIS_ALLOW_EVICTION: flag,
  DATABASE_PREPARE: flag,
} as const

type Settings = { [Name in keyof typeof settings]?: z.output<(typeof settings)[Name]> | undefined }

/**
 * The whole configuration from the environment, frozen. An empty variable counts as unset.
 * @throws {ConfigInvalid} with every problem at once: what is missing for this command and what is malformed.
 */
export function loadConfig(environment: Environment = process.env, needs: ConfigNeeds = {}): Config {
  const { values, problems } = parseSettings(environment)
  const required: (keyof Settings)[] = ['DATABASE_URL']
  if (!needs.databaseOnly) required.push('TOKEN_ENCRYPTION_KEYS')
  if (!needs.databaseOnly && !needs.tokenKeysOnly)
    required.push('ENTRA_TENANT_ID', 'ENTRA_CLIENT_ID', 'ENTRA_CLIENT_SECRET')
  if (needs.gateway) required.push('SESSION_KEYS')
  for (const setting of required) {
    if (!environment[setting]) problems.push({ setting, message: 'is missing' })
  }
  if (problems.length > 0) throw new ConfigInvalid(problems)
  return freeze(values)
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

function freeze(values: Settings): Config {
  const port = values.PORT ?? 3000
  const databaseUrl = values.DATABASE_URL ?? ''
  return Object.freeze<Config>({
    databaseUrl,
    queueUrl: values.QUEUE_URL ?? databaseUrl,
    port,
    host: values.HOST ?? '127.0.0.1',
    publicUrl: values.PUBLIC_URL ?? `http://localhost:${port}`,
    source: Object.freeze<SourceConfig>({
      slug: values.SOURCE_SLUG ?? 'entra-id',
      name: 'Entra ID',
      tenantId: values.ENTRA_TENANT_ID ?? '',
      clientId: values.ENTRA_CLIENT_ID ?? '',
      clientSecret: values.ENTRA_CLIENT_SECRET ?? '',
      authorityHost: values.ENTRA_AUTHORITY_HOST ?? 'https://login.microsoftonline.com',
      graphBaseUrl: values.GRAPH_BASE_URL ?? 'https://graph.microsoft.com',
      groupRead: values.GROUP_READ ?? 'transitive',
      unitsPer10s: values.GRAPH_UNITS_PER_10S ?? tenantSizes[values.TENANT_SIZE ?? 'S'],
    }),
    tokenKeys: values.TOKEN_ENCRYPTION_KEYS ?? [],
    sessionKeys: values.SESSION_KEYS ?? [],
    apiKeys: values.API_KEYS ?? [],
    adminPassword: values.ADMIN_PASSWORD,
    syncConcurrency: values.SYNC_CONCURRENCY ?? 10,
    guard: Object.freeze({
      minRemovals: values.GUARD_MIN_REMOVALS ?? 20,
      maxShare: (values.GUARD_MAX_SHARE ?? 50) / 100,
    }),
    resyncGuard: Object.freeze({
      minRemovals: values.GUARD_RESYNC_MIN_REMOVALS ?? 200,
      maxShare: (values.GUARD_RESYNC_MAX_SHARE ?? 10) / 100,
    }),
    groupFilter: createGroupFilter({
      securityEnabled: values.GROUP_FILTER_SECURITY_ENABLED || undefined,
      unified: values.GROUP_FILTER_UNIFIED,
      ids: values.GROUP_FILTER_IDS,
      names: values.GROUP_FILTER_NAMES,
      excludeNames: values.GROUP_FILTER_EXCLUDE_NAMES,
    }),
    logLevel: values.LOG_LEVEL ?? 'info',
    allowEviction: values.REDIS_ALLOW_EVICTION ?? false,
    databasePrepare: values.DATABASE_PREPARE ?? true,
  })
}
