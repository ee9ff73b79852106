import { exchangeRivalry } from './exchange-rivals.ts'
import type { GroupFilter } from './reconcile/filter.ts'

/** National clouds: tokens of one are worth nothing in another (Entra docs: authentication-national-cloud; Graph docs: deployments). */
export const clouds = {
  global: { authorityHost: 'https://login.microsoftonline.com', graphBaseUrl: 'https://graph.microsoft.com' },
  usgov: { authorityHost: 'https://login.microsoftonline.us', graphBaseUrl: 'https://graph.microsoft.us' },
  'usgov-dod': {
    authorityHost: 'https://login.microsoftonline.us',
    graphBaseUrl: 'https://dod-graph.microsoft.us',
  },
  china: {
    authorityHost: 'https://login.partner.microsoftonline.cn',
    graphBaseUrl: 'https://microsoftgraph.chinacloudapi.cn',
  },
} as const

export type Cloud = keyof typeof clouds

/** Whose people may sign in: those of one tenant, or of several through one of Entra's names for all of them. */
export type SourceTenant =
  | { kind: 'single'; id: string }
  | { kind: 'organizations' | 'common'; allowed: 'any' | readonly string[] }

/** How the app proves to Entra that it is itself. `id` names it in logs and on pages, and tells nothing of it. */
export type Credential = {
  id: string
  /** When it ends, as far as somebody has told: ISO 8601. */
  expiresAt?: string | undefined
} & (
  | { kind: 'federated'; /** Read anew for each request: whoever writes it replaces it. */ tokenFile: string }
  | { kind: 'certificate'; /** PEM. */ certificate: string; privateKey: string }
  | { kind: 'secret'; secret: string }
)

/** Who may become a user here, of those whom Entra lets sign in. */
export type SignUp =
  | { policy: 'anyone' }
  /** Only who is a user already, or was invited. */
  | { policy: 'invited' }
  /** Only members of one of these groups, by object id, for as long as they are. */
  | { policy: 'members'; groupIds: readonly string[] }

/**
 * What a resync does about people whose tokens are gone and who haven't signed in for so many days: nothing, mark what is
 * stored as not to be relied on, or remove it.
 */
export type AbsentRule = { policy: 'keep' | 'freeze' | 'remove'; afterDays: number }

export type ResyncSettings = {
  /** When it starts by itself; undefined for never. `cron` is by the time zone, an IANA name. */
  schedule: { cron: string; timeZone: string } | { everySeconds: number } | undefined
  /** When changes are asked for, which only the app can be told; undefined for never. */
  delta: { everySeconds: number } | undefined
  /** Whether Graph is to tell of changes as they happen, which only the app can have, at an https address. */
  notifications: boolean
  /** With whose tokens: each person's own, or the app's, which reads many at once and needs nobody to have signed in lately. */
  read: 'delegated' | 'app'
  /** Who was synced longer ago is due. */
  maxAgeSeconds: number
  /** Over which a scheduled one spreads those who are due. */
  spreadSeconds: number
  absent: AbsentRule
}

/** Whose tokens of Entra are exchanged for local ones, and what groups services have of it. */
export type ExchangeRules = {
  /** Whose tokens: those that an app has for itself, those it has for a person, or both. */
  accepts: 'app' | 'delegated' | 'any'
  /** What a token may be for, besides the client id and `api://` with it: further application id URIs. */
  audiences: readonly string[]
  /** Formats that are taken: both, or only that of `requestedAccessTokenVersion` 2. */
  versions: 'any' | 'v2'
  /** Client ids of apps that may exchange theirs; `any` asks for a role at least. */
  callers: 'any' | readonly string[]
  /** Where a service's groups come from: the roles of its token, what is written down here, or Graph, asked as the app. */
  groups: 'roles' | 'mapped' | 'graph'
  /** For `mapped`: object ids of groups by role, or by client id. */
  groupMap: Readonly<Record<string, readonly string[]>>
}

/** One configured Entra app registration people sign in through. */
export type SourceConfig = {
  slug: string
  name: string
  /** A `data:` URL of an image; undefined shows the source's initial. */
  icon: string | undefined
  /** False: people can't sign in through it, and its people are not synced. */
  enabled: boolean
  /** Shown first. */
  promoted: boolean
  tenant: SourceTenant
  clientId: string
  /** The first that Entra takes is used. */
  credentials: readonly Credential[]
  /** Permissions of Microsoft Graph that a sign-in asks for, besides those of OpenID Connect. */
  scopes: readonly string[]
  /** False: people sign in, and their groups are left alone. */
  groupSync: boolean
  /** Origin of the authority, no trailing slash: `https://login.microsoftonline.com`. */
  authorityHost: string
  /** Origin of Graph, no version and no trailing slash: `https://graph.microsoft.com`. */
  graphBaseUrl: string
  groupRead: 'transitive' | 'direct'
  /** Which groups are kept; undefined = all. */
  groupFilter: GroupFilter | undefined
  /** A plan that would remove at least so many of a person's memberships, and this share of them (0–1), is held. */
  guard: { minRemovals: number; maxShare: number }
  /** The same for all runs of one resync together, the share being that of the tenant's memberships. */
  resyncGuard: { minRemovals: number; maxShare: number }
  /** Resource units of Graph that all workers together use in ten seconds, in one tenant. */
  unitsPer10s: number
  signUp: SignUp
  resync: ResyncSettings
  /** Undefined: no token is exchanged. */
  exchange: ExchangeRules | undefined
}

/** What every sign-in asks for: who it is, and a refresh token. */
export const openIdScopes = ['openid', 'profile', 'email', 'offline_access'] as const

export const defaultScopes = ['User.Read', 'GroupMember.Read.All'] as const

/**
 * Any of these reads groups with their names (Graph docs: user-list-transitivememberof, permissions), also with Graph's URL
 * in front; a pattern for JavaScript and Postgres.
 */
export const groupScopes =
  '(^|/)(GroupMember[.]Read[.]All|Group[.]Read(Write)?[.]All|Directory[.]Read(Write)?[.]All)$'

/** Whether such permissions read groups with their names. */
export function readsGroups(scopes: readonly string[]): boolean {
  const pattern = new RegExp(groupScopes, 'i')
  return scopes.some((scope) => pattern.test(scope))
}

/** Whether the groups of a source's people are kept in step at all. */
export function syncsGroups({ enabled, groupSync, scopes }: SourceConfig): boolean {
  return enabled && groupSync && readsGroups(scopes)
}

/** Whether people of this tenant may sign in through the source. */
export function takesTenant({ tenant }: Pick<SourceConfig, 'tenant'>, tenantId: string): boolean {
  if (tenant.kind === 'single') return tenant.id === tenantId
  return tenant.allowed === 'any' || tenant.allowed.includes(tenantId)
}

/**
 * The enabled source that a report is about: the one it names, or the only one that takes people of that tenant. Where it
 * can't be known, which field of the report is wrong and why.
 */
export function chooseSource(
  sources: readonly SourceConfig[],
  { slug, tenantId }: { slug: string | undefined; tenantId: string },
): { source: SourceConfig } | { field: 'source' | 'tenantId'; problem: string } {
  const enabled = sources.filter((source) => source.enabled)
  if (slug !== undefined) {
    const named = enabled.find((source) => source.slug === slug)
    if (!named)
      return { field: 'source', problem: `must be one of ${enabled.map((each) => each.slug).join(', ')}` }
    if (!takesTenant(named, tenantId))
      return { field: 'tenantId', problem: 'must be a tenant of that source' }
    return { source: named }
  }
  const [source, ...others] = enabled.filter((each) => takesTenant(each, tenantId))
  if (!source) return { field: 'tenantId', problem: "must be the tenant of this gateway's source" }
  if (others.length === 0) return { source }
  const slugs = [source, ...others].map((each) => each.slug).join(' and ')
  return { field: 'source', problem: `is missing: ${slugs} take people of this tenant` }
}

/** The part of the authority's URLs that says for whom they are. */
export function tenantSegment({ tenant }: Pick<SourceConfig, 'tenant'>): string {
  return tenant.kind === 'single' ? tenant.id : tenant.kind
}

/**
 * Where an administrator of a tenant agrees, for everybody, to what the registration of the app lists (Entra docs:
 * v2-oauth2-client-creds-grant-flow). Without a tenant the administrator's own sign-in says which one.
 */
export function adminConsentUrl(source: SourceConfig, redirectUri: string, tenantId?: string): string {
  const tenant = tenantId ?? tenantSegment(source)
  const url = new URL(
    `${source.authorityHost}/${tenant === 'common' ? 'organizations' : tenant}/adminconsent`,
  )
  url.searchParams.set('client_id', source.clientId)
  url.searchParams.set('redirect_uri', redirectUri)
  return url.href
}

export type SourceProblem = {
  /** Slug of the source that has it. */
  slug: string
  message: string
  /** Where the environment says it, of a source that is the only one; undefined for what takes two. */
  setting?: string
}

/**
 * What sources can't be: two of one slug; two that bring one tenant's people, or its services, up to date by different rules,
 * of which each would undo what the other did; one that asks for a group which it keeps out; and one that could never ask
 * Graph for a service's groups.
 */
export function sourcesProblems(sources: readonly SourceConfig[]): SourceProblem[] {
  return sources.flatMap((source, index) => {
    const { slug } = source
    const earlier = sources.slice(0, index)
    const problems: SourceProblem[] = []
    if (earlier.some((other) => other.slug === slug))
      problems.push({ slug, message: 'has the slug of a source before it' })
    const rival = earlier.find((other) => sharesTenant(source, other) && rulesOf(source) !== rulesOf(other))
    if (rival && syncsGroups(source) && syncsGroups(rival)) {
      const message = `takes people of a tenant that ${rival.slug} takes too, with another group read or filter: their groups would come and go; give both the same, or switch group sync off for one`
      problems.push({ slug, message })
    }
    const rivalry = earlier
      .filter((other) => sharesTenant(source, other))
      .map((other) => exchangeRivalry(source, other))
      .find((message) => message !== undefined)
    if (rivalry !== undefined) problems.push({ slug, message: rivalry })
    const clashes = { SIGN_UP_GROUPS: signUpClash(source), EXCHANGE_GROUPS: exchangeClash(source) }
    for (const [setting, message] of Object.entries(clashes))
      if (message !== undefined) problems.push({ slug, message, setting })
    return problems
  })
}

/** Tokens of the app itself are had over https only, also on loopback. */
function exchangeClash({ enabled, exchange, authorityHost }: SourceConfig): string | undefined {
  if (!enabled || exchange?.groups !== 'graph' || authorityHost.startsWith('https:')) return undefined
  return 'reads the groups of services from Graph (groups: graph), for which ENTRA_AUTHORITY_HOST has to be https: the app would get no token'
}

/** Whether somebody is still in a required group is known by what their runs store. */
function signUpClash(source: SourceConfig): string | undefined {
  const { signUp, groupFilter, groupRead } = source
  if (!source.enabled || signUp.policy !== 'members') return undefined
  if (!syncsGroups(source))
    return 'takes members of groups only, without group sync: nobody would be found to have left them'
  if (groupRead === 'direct')
    return 'takes members of groups only, and reads direct ones: who is in one through another group would be signed out by the first run'
  const lost = signUp.groupIds.filter((objectId) => groupFilter?.judge({ objectId, ...untold }) !== 'in')
  if (!groupFilter || lost.length === 0) return undefined
  return `may keep out groups that people must be in to sign in (${lost.join(', ')}), who would be signed out by their first run: let the filter be by ids, these among them`
}

const untold = {
  displayName: null,
  description: null,
  mail: null,
  securityEnabled: null,
  mailEnabled: null,
  groupTypes: null,
}

function sharesTenant(one: SourceConfig, other: SourceConfig): boolean {
  const [ids, others] = [one, other].map(({ tenant }) => {
    if (tenant.kind === 'single') return [tenant.id]
    return tenant.allowed === 'any' ? undefined : tenant.allowed
  })
  if (!ids) return true
  return others ? ids.some((id) => others.includes(id)) : true
}

const rulesOf = ({ groupRead, groupFilter }: SourceConfig) => `${groupRead} ${groupFilter?.fingerprint ?? ''}`
