import type { Database } from '../db/client.ts'
import {
  listCredentials,
  listSourceHealth,
  recordCredentials,
  registerCredentials,
  type StoredCredential,
} from '../db/source-credentials.ts'
import type { CredentialsStatus } from './login/credential-standing.ts'
import {
  adminConsentUrl,
  groupScopes,
  readsGroups,
  syncsGroups,
  tenantSegment,
  type SourceConfig,
} from './source-config.ts'

export type SourceStatus = {
  slug: string
  name: string
  tenant: string
  enabled: boolean
  groupSync: boolean
  /** Who has signed in, by tenant. */
  tenants: {
    tenantId: string
    people: number
    /** How many of their tokens read no groups: their groups have no names. */
    withoutGroupScope: number
  }[]
  credentials: StoredCredential[]
  /** What somebody should do, in words; none where all is well. */
  advice: string[]
}

const noneTaken =
  'Entra takes no credential of the app: nobody can sign in, and no token is renewed. Add a new one.'

/** Days before its end from which a credential is spoken of. */
const endsSoonDays = 30

/** How each source does, for whoever owns it: what is stored, so that it is the same from every process. */
export async function readSourceStatus(
  db: Database,
  { sources, publicUrl }: { sources: readonly SourceConfig[]; publicUrl: string },
  now = new Date(),
): Promise<SourceStatus[]> {
  const credentials = await listCredentials(db)
  const health = await listSourceHealth(db, groupScopes)
  return sources.map((source) => {
    const { slug, name, enabled } = source
    const own = credentials.filter((each) => each.source === slug)
    const tenants = health.flatMap(({ source: of, ...tenant }) => (of === slug ? [tenant] : []))
    return {
      slug,
      name,
      tenant: tenantSegment(source),
      enabled,
      groupSync: syncsGroups(source),
      tenants,
      credentials: own,
      advice: [
        ...adviceOnGroups(source, tenants, `${publicUrl}/source/oauth/callback/${slug}/`),
        ...(own.length > 0 && own.every(({ refusedWith }) => refusedWith !== null) ? [noneTaken] : []),
        ...own.flatMap((credential) => adviceOnCredential(credential, now)),
      ],
    }
  })
}

function adviceOnGroups(
  source: SourceConfig,
  tenants: SourceStatus['tenants'],
  redirectUri: string,
): string[] {
  if (!source.enabled) return []
  // Switched off on purpose.
  if (!source.groupSync) return []
  if (!readsGroups(source.scopes))
    return [
      'Group sync is off, since the scopes have no permission to read groups: add GroupMember.Read.All to them, or switch it off.',
    ]
  return tenants
    .filter(({ withoutGroupScope }) => withoutGroupScope > 0)
    .map(({ tenantId, people, withoutGroupScope }) => {
      const url = adminConsentUrl(source, redirectUri, tenantId)
      return `In tenant ${tenantId} the tokens of ${withoutGroupScope} of ${people} people lack the permission GroupMember.Read.All, so that names of groups are missing. An administrator grants it at ${url}`
    })
}

function adviceOnCredential({ credential, expiresAt, refusedWith }: StoredCredential, now: Date): string[] {
  if (refusedWith !== null)
    return [`Entra refuses the credential "${credential}" (${refusedWith}): replace it, or remove it.`]
  if (expiresAt === null) return []
  const days = (Date.parse(expiresAt) - now.getTime()) / 86_400_000
  if (days > endsSoonDays) return []
  const when = days < 0 ? 'has ended' : `ends on ${expiresAt.slice(0, 10)}`
  return [`The credential "${credential}" ${when}: add a new one beside it, then remove this one.`]
}

/** What a starting process knows of a source's credentials: which there are. */
export async function registerSourceCredentials(
  db: Database,
  slug: string,
  status: CredentialsStatus,
): Promise<void> {
  await registerCredentials(db, slug, stored(status))
}

/** What a process has learnt of them from Entra. */
export async function recordSourceCredentials(
  db: Database,
  slug: string,
  status: CredentialsStatus,
): Promise<void> {
  await recordCredentials(db, slug, stored(status))
}

function stored({ inUse, credentials }: CredentialsStatus): StoredCredential[] {
  return credentials.map(({ id, kind, expiresAt, refusedWith, refusedAt }) => ({
    credential: id,
    kind,
    inUse: id === inUse,
    expiresAt: expiresAt ?? null,
    refusedWith: refusedWith ?? null,
    refusedAt: refusedAt ?? null,
  }))
}
