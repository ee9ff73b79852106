import { createHash } from 'node:crypto'
import type { Database } from '../db/client.ts'
import {
  listCredentials,
  listSourceHealth,
  recordCredentials,
  type StoredCredential,
} from '../db/source-credentials.ts'
import { knownEnd } from './login/client-assertion.ts'
import type { CredentialsStatus } from './login/credential-standing.ts'
import {
  adminConsentUrl,
  groupScopes,
  readsGroups,
  syncsGroups,
  tenantSegment,
  type Credential,
  type SourceConfig,
} from './source-config.ts'

export type CredentialStatus = {
  credential: string
  kind: Credential['kind']
  inUse: boolean
  /** ISO 8601, as the next but one; null where nobody has told. */
  expiresAt: string | null
  /** Entra's code. */
  refusedWith: string | null
  refusedAt: string | null
}

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
  credentials: CredentialStatus[]
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
  const learnt = await listCredentials(db)
  const health = await listSourceHealth(db, groupScopes)
  return sources.map((source) => {
    const { slug, name, enabled } = source
    const own = credentialsOf(source, learnt)
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

function adviceOnCredential({ credential, expiresAt, refusedWith }: CredentialStatus, now: Date): string[] {
  if (refusedWith !== null)
    return [`Entra refuses the credential "${credential}" (${refusedWith}): replace it, or remove it.`]
  if (expiresAt === null) return []
  const days = (Date.parse(expiresAt) - now.getTime()) / 86_400_000
  if (days > endsSoonDays) return []
  const when = days < 0 ? 'has ended' : `ends on ${expiresAt.slice(0, 10)}`
  return [`The credential "${credential}" ${when}: add a new one beside it, then remove this one.`]
}

/** Writes down what a process has learnt of its credentials. */
export async function recordSourceCredentials(
  db: Database,
  { slug, credentials }: Pick<SourceConfig, 'slug' | 'credentials'>,
  status: CredentialsStatus,
): Promise<void> {
  const known = new Map(status.credentials.map((each) => [each.id, each]))
  await recordCredentials(
    db,
    slug,
    credentials.map((credential) => ({
      credential: credential.id,
      fingerprint: fingerprintOf(credential),
      inUse: credential.id === status.inUse,
      asked: known.get(credential.id)?.asked ?? false,
      refusedWith: known.get(credential.id)?.refusedWith ?? null,
      refusedAt: known.get(credential.id)?.refusedAt ?? null,
    })),
  )
}

/**
 * The credentials that are configured here, with what any process has learnt of these very ones. In use is the one that
 * Entra took last, or else the first that it hasn't refused.
 */
function credentialsOf(
  { slug, credentials }: SourceConfig,
  learnt: readonly StoredCredential[],
): SourceStatus['credentials'] {
  const known = credentials.map((credential) => {
    const fingerprint = fingerprintOf(credential)
    const row = learnt.find(
      (each) => each.source === slug && each.credential === credential.id && each.fingerprint === fingerprint,
    )
    return { credential, row }
  })
  const rows = known.flatMap(({ row }) => (row?.inUse ? [row] : []))
  const used =
    learnt.find((each) => rows.includes(each))?.credential ??
    known.find(({ row }) => row === undefined || row.refusedWith === null)?.credential.id
  return known.map(({ credential, row }) => ({
    credential: credential.id,
    kind: credential.kind,
    inUse: credential.id === used,
    expiresAt: knownEnd(credential)?.toISOString() ?? null,
    refusedWith: row?.refusedWith ?? null,
    refusedAt: row?.refusedAt ?? null,
  }))
}

/** 32 bits of a hash: enough to tell two apart, and nothing to find a generated secret by. */
function fingerprintOf(credential: Credential): string {
  const { kind } = credential
  const text =
    kind === 'secret'
      ? credential.secret
      : kind === 'certificate'
        ? credential.certificate
        : credential.tokenFile
  return createHash('sha256').update(`${kind} ${text}`).digest('hex').slice(0, 8)
}
