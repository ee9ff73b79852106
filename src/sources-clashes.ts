import { z } from 'zod'
import { exchangeProblems, exchangeShape } from './exchange-settings.ts'
import { guid } from './setting-shapes.ts'

export type EntryProblem = {
  path: readonly PropertyKey[]
  message: string
  /** It is the key that is wrong, whatever stands behind it. */
  key?: true
}

const credentialKinds = ['federatedTokenFile', 'certificate', 'secret'] as const

/**
 * What can't stand together, or alone, in one source. Looks at what the file says, malformed or not: so these are told
 * together with everything else that is wrong.
 */
export function clashes(source: unknown): EntryProblem[] {
  if (!isMapping(source)) return []
  return [
    ...tenantClashes(source),
    ...signUpClashes(source['signUp']),
    ...credentialClashes(source),
    ...resyncClashes(source),
    ...exchangeClashes(source),
  ]
}

const isForSeveral = (tenant: unknown) => tenant === 'organizations' || tenant === 'common'

function tenantClashes({ tenant, allowedTenants }: Mapping): EntryProblem[] {
  const path = ['allowedTenants']
  if (isForSeveral(tenant)) {
    if (allowedTenants !== undefined) return []
    return [{ path, message: `is missing: with tenant ${tenant} list the tenants, or say any` }]
  }
  if (allowedTenants === undefined || !guid.safeParse(tenant).success) return []
  return [{ path, message: 'goes with tenant organizations or common only' }]
}

function signUpClashes(signUp: unknown): EntryProblem[] {
  if (!isMapping(signUp)) return []
  const { policy, groups } = signUp
  const path = ['signUp', 'groups']
  if (policy === 'members' && groups === undefined)
    return [{ path, message: 'is missing: policy members needs the groups' }]
  if ((policy === 'anyone' || policy === 'invited') && groups !== undefined)
    return [{ path, message: 'goes with policy members only' }]
  return []
}

function resyncClashes({ tenant, resync }: Mapping): EntryProblem[] {
  if (!isMapping(resync)) return []
  const { delta, read } = resync
  const path = ['resync', 'delta']
  if (delta === undefined || delta === 'off') return []
  if (read !== 'app') return [{ path, message: 'goes with read: app only' }]
  if (!isForSeveral(tenant)) return []
  return [{ path, message: 'must be off: only one tenant can be asked for changes' }]
}

/** As far as what the file says is of the right kind; what isn't is told as such. */
function exchangeClashes({ tenant, exchange }: Mapping): EntryProblem[] {
  const told = z.looseObject(exchangeShape).safeParse(exchange).data
  if (!told) return []
  return exchangeProblems(told, { severalTenants: isForSeveral(tenant) }).map(({ part, message }) => ({
    path: ['exchange', part],
    message,
  }))
}

function credentialClashes({ credentials }: Mapping): EntryProblem[] {
  if (!Array.isArray(credentials)) return []
  const ids = new Set<unknown>()
  return credentials.flatMap((credential: unknown, index) => {
    if (!isMapping(credential)) return []
    const problems: EntryProblem[] = []
    const problem = (message: string, ...key: string[]) =>
      void problems.push({ path: ['credentials', index, ...key], message })
    const kinds = credentialKinds.filter((kind) => credential[kind] !== undefined)
    if (kinds.length === 0) problem(`must have one of ${credentialKinds.join(', ')}`)
    if (kinds.length > 1) problem(`has ${kinds.join(' and ')}: make an entry of each`)
    if (credential['privateKey'] !== undefined && !kinds.includes('certificate'))
      problem('goes with certificate only', 'privateKey')
    if (credential['expiresAt'] !== undefined && !kinds.includes('secret'))
      problem('goes with secret only', 'expiresAt')
    const { id } = credential
    if (id !== undefined && ids.has(id)) problem('is the id of a credential before it', 'id')
    ids.add(id)
    return problems
  })
}

type Mapping = Readonly<Record<string, unknown>>

function isMapping(value: unknown): value is Mapping {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
