import { X509Certificate } from 'node:crypto'
import { z } from 'zod'
import type { ConfigProblem } from './errors.ts'
import { exchangeOf, exchangeProblems, exchangeSettings, type ToldExchange } from './exchange-settings.ts'
import { createGroupFilter } from './reconcile/filter.ts'
import { resyncOf, resyncSettings } from './resync-settings.ts'
import { flag, guid, guidList, integer, origin, pattern } from './setting-shapes.ts'
import {
  clouds,
  defaultScopes,
  type Cloud,
  type Credential,
  type SignUp,
  type SourceConfig,
  type SourceTenant,
} from './source-config.ts'
import { refusePath } from './url-rules.ts'

/** Resource units that Graph allows one app in one tenant in ten seconds, by the tenant's size (Graph docs: throttling-limits). */
export const tenantSizes = {
  /** Below 50 users. */
  S: 3500,
  M: 5000,
  /** Above 500 users. */
  L: 8000,
} as const

const words = <Name extends string>(names: readonly [Name, ...Name[]]) =>
  z.enum(names, `must be one of ${names.join(', ')}`)

/** The settings of the one source that stands in the environment. */
export const sourceSettings = {
  SOURCE_SLUG: z
    .string()
    .regex(/^[a-z0-9][a-z0-9-]{0,62}$/, 'must be lower-case letters, digits and hyphens'),
  SOURCE_NAME: z.string().max(80, 'must have at most 80 characters'),
  ENTRA_CLOUD: words(['global', 'usgov', 'usgov-dod', 'china']),
  ENTRA_TENANT_ID: z.union([z.enum(['organizations', 'common']), guid], {
    error: 'must be a GUID, organizations or common',
  }),
  ENTRA_ALLOWED_TENANTS: z.union([z.literal('any'), guidList]),
  ENTRA_CLIENT_ID: guid,
  ENTRA_CLIENT_SECRET: z.string().min(1),
  ENTRA_CLIENT_SECRET_NEXT: z.string().min(1),
  ENTRA_CLIENT_CERTIFICATE_FILE: z.string().min(1),
  ENTRA_FEDERATED_TOKEN_FILE: z.string().min(1),
  ENTRA_SCOPES: z.string().transform((text) => text.split(/[\s,]+/).filter(Boolean)),
  ENTRA_AUTHORITY_HOST: origin.superRefine(refusePath),
  GRAPH_BASE_URL: origin.superRefine(refusePath),
  GROUP_SYNC: flag,
  GROUP_READ: z.enum(['transitive', 'direct'], 'must be transitive or direct'),
  GROUP_FILTER_SECURITY_ENABLED: flag,
  GROUP_FILTER_UNIFIED: z.enum(['only', 'exclude'], 'must be only or exclude'),
  GROUP_FILTER_IDS: guidList,
  GROUP_FILTER_NAMES: pattern,
  GROUP_FILTER_EXCLUDE_NAMES: pattern,
  TENANT_SIZE: z.enum(['S', 'M', 'L'], 'must be S, M or L'),
  GRAPH_UNITS_PER_10S: integer(10, 1_000_000),
  SIGN_UP: words(['anyone', 'invited', 'members']),
  SIGN_UP_GROUPS: guidList,
  ...resyncSettings,
  ...exchangeSettings,
} as const

export type SourceSettings = {
  [Name in keyof typeof sourceSettings]?: z.output<(typeof sourceSettings)[Name]> | undefined
}

const otherCredentials = ['ENTRA_CLIENT_CERTIFICATE_FILE', 'ENTRA_FEDERATED_TOKEN_FILE'] as const

/** What can't be left out of a source: without a certificate or a federated token, the secret. */
export function requiredOfSource(given: Readonly<Record<string, string | undefined>>): string[] {
  const required = ['ENTRA_TENANT_ID', 'ENTRA_CLIENT_ID']
  return otherCredentials.some((setting) => given[setting]) ? required : [...required, 'ENTRA_CLIENT_SECRET']
}

/** The source of the environment, and what doesn't go together in it. `readText` reads a file. */
export function sourceOfSettings(
  values: SourceSettings,
  guards: Pick<SourceConfig, 'guard' | 'resyncGuard'>,
  readText: (path: string) => string,
): { source: SourceConfig; problems: ConfigProblem[] } {
  const problems: ConfigProblem[] = []
  const problem = (setting: keyof SourceSettings, message: string) => void problems.push({ setting, message })
  const tenant = tenantOf(values, problem)
  const credentials = credentialsOf(values, readText, problem)
  const signUp = signUpOf(values, problem)
  if (values.RESYNC_DELTA !== undefined && values.RESYNC_DELTA !== 'off') {
    if (values.RESYNC_READ !== 'app') problem('RESYNC_DELTA', 'goes with RESYNC_READ=app only')
    else if (tenant.kind !== 'single')
      problem('RESYNC_DELTA', 'must be off: only one tenant can be asked for changes')
  }
  const exchange = exchangeToldBy(values, tenant, problem)
  const cloud: Cloud = values.ENTRA_CLOUD ?? 'global'
  return {
    source: Object.freeze<SourceConfig>({
      slug: values.SOURCE_SLUG ?? 'entra-id',
      name: values.SOURCE_NAME ?? 'Entra ID',
      icon: undefined,
      enabled: true,
      promoted: false,
      tenant,
      clientId: values.ENTRA_CLIENT_ID ?? '',
      credentials,
      scopes: values.ENTRA_SCOPES ?? defaultScopes,
      groupSync: values.GROUP_SYNC ?? true,
      authorityHost: values.ENTRA_AUTHORITY_HOST ?? clouds[cloud].authorityHost,
      graphBaseUrl: values.GRAPH_BASE_URL ?? clouds[cloud].graphBaseUrl,
      groupRead: values.GROUP_READ ?? 'transitive',
      groupFilter: createGroupFilter({
        securityEnabled: values.GROUP_FILTER_SECURITY_ENABLED || undefined,
        unified: values.GROUP_FILTER_UNIFIED,
        ids: values.GROUP_FILTER_IDS,
        names: values.GROUP_FILTER_NAMES,
        excludeNames: values.GROUP_FILTER_EXCLUDE_NAMES,
      }),
      ...guards,
      unitsPer10s: values.GRAPH_UNITS_PER_10S ?? tenantSizes[values.TENANT_SIZE ?? 'S'],
      signUp,
      resync: resyncOf(
        {
          schedule: values.RESYNC_SCHEDULE,
          timeZone: values.RESYNC_TIME_ZONE,
          read: values.RESYNC_READ,
          delta: values.RESYNC_DELTA,
          notifications: values.RESYNC_NOTIFICATIONS,
          maxAgeHours: values.RESYNC_MAX_AGE_HOURS,
          spreadMinutes: values.RESYNC_SPREAD_MINUTES,
          absent: values.ABSENT_POLICY,
          absentAfterDays: values.ABSENT_AFTER_DAYS,
        },
        { singleTenant: tenant.kind === 'single' },
      ),
      exchange: exchangeOf(exchange),
    }),
    problems,
  }
}

const exchangeParts = {
  accepts: 'EXCHANGE',
  audiences: 'EXCHANGE_AUDIENCES',
  versions: 'EXCHANGE_VERSIONS',
  callers: 'EXCHANGE_CALLERS',
  groups: 'EXCHANGE_GROUPS',
  groupMap: 'EXCHANGE_GROUP_MAP',
} as const

function exchangeToldBy(values: SourceSettings, tenant: SourceTenant, problem: Tell): ToldExchange {
  const told = {
    accepts: values.EXCHANGE,
    audiences: values.EXCHANGE_AUDIENCES,
    versions: values.EXCHANGE_VERSIONS,
    callers: values.EXCHANGE_CALLERS,
    groups: values.EXCHANGE_GROUPS,
    groupMap: values.EXCHANGE_GROUP_MAP,
  }
  for (const { part, message } of exchangeProblems(told, { severalTenants: tenant.kind !== 'single' }))
    problem(exchangeParts[part], message)
  return told
}

type Tell = (setting: keyof SourceSettings, message: string) => void

function tenantOf(values: SourceSettings, problem: Tell): SourceTenant {
  const { ENTRA_TENANT_ID: told = '', ENTRA_ALLOWED_TENANTS: allowed } = values
  if (told !== 'organizations' && told !== 'common') {
    if (allowed !== undefined)
      problem('ENTRA_ALLOWED_TENANTS', 'goes with ENTRA_TENANT_ID=organizations or common only')
    return { kind: 'single', id: told }
  }
  if (allowed === undefined)
    problem('ENTRA_ALLOWED_TENANTS', `is missing: with ENTRA_TENANT_ID=${told} list the tenants, or say any`)
  return { kind: told, allowed: allowed ?? [] }
}

function signUpOf(values: SourceSettings, problem: Tell): SignUp {
  const { SIGN_UP: policy = 'anyone', SIGN_UP_GROUPS: groupIds = [] } = values
  if (policy !== 'members') {
    if (groupIds.length > 0) problem('SIGN_UP_GROUPS', 'goes with SIGN_UP=members only')
    return { policy }
  }
  if (groupIds.length === 0) problem('SIGN_UP_GROUPS', 'is missing: SIGN_UP=members needs the groups')
  if (groupIds.length > maxSignUpGroups) problem('SIGN_UP_GROUPS', `must have at most ${maxSignUpGroups}`)
  return { policy, groupIds }
}

/** As many as Graph checks in one request (Graph docs: directoryobject-checkmembergroups). */
export const maxSignUpGroups = 20

/** In the order they are preferred in: what needs no secret first. */
function credentialsOf(
  values: SourceSettings,
  readText: (path: string) => string,
  problem: Tell,
): readonly Credential[] {
  const {
    ENTRA_FEDERATED_TOKEN_FILE: tokenFile,
    ENTRA_CLIENT_CERTIFICATE_FILE: pemFile,
    ENTRA_CLIENT_SECRET: secret,
    ENTRA_CLIENT_SECRET_NEXT: next,
  } = values
  const credentials: Credential[] = []
  if (tokenFile !== undefined) credentials.push({ kind: 'federated', id: 'federated', tokenFile })
  if (pemFile !== undefined) {
    try {
      credentials.push(certificateOf(readText(pemFile), 'certificate'))
    } catch {
      const message = `${pemFile} can't be read as PEM with a certificate and its private key`
      problem('ENTRA_CLIENT_CERTIFICATE_FILE', message)
    }
  }
  if (secret !== undefined) credentials.push({ kind: 'secret', id: 'secret', secret })
  if (next !== undefined) credentials.push({ kind: 'secret', id: 'next secret', secret: next })
  return credentials
}

const pemBlock = (name: string) => new RegExp(`-----BEGIN ${name}-----[\\s\\S]+?-----END ${name}-----`)

/**
 * A certificate and its key from PEM, whose end is known then.
 * @throws {Error} where one of them isn't there.
 */
export function certificateOf(pem: string, id: string): Credential {
  const certificate = pemBlock('CERTIFICATE').exec(pem)?.[0]
  const privateKey = pemBlock('(?:RSA )?PRIVATE KEY').exec(pem)?.[0]
  if (certificate === undefined || privateKey === undefined) throw new Error('no certificate, or no key')
  const expiresAt = new Date(new X509Certificate(certificate).validTo).toISOString()
  return { kind: 'certificate', id, certificate, privateKey, expiresAt }
}
