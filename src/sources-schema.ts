import { z } from 'zod'
import { exchangeShape } from './exchange-settings.ts'
import { resyncShape } from './resync-settings.ts'
import { guid, origin, pattern } from './setting-shapes.ts'
import { refusePath } from './url-rules.ts'
import { defaultScopes, type Credential } from './source-config.ts'
import { certificateOf, maxSignUpGroups, sourceSettings } from './source-settings.ts'
import type { ValueRead, ValueReaders } from './sources-values.ts'

/** A file with more of them is a mistake. */
export const maxSources = 100

const guids = z.array(guid).min(1)
const text = z.string().min(1)

/** A value that may stand elsewhere. */
const readBy = (read: (value: string) => ValueRead) =>
  text.transform((value, context) => {
    const found = read(value)
    if ('value' in found) return found.value
    context.addIssue(found.problem)
    return z.NEVER
  })

const credentialShape = ({ secret, path }: ValueReaders) => ({
  id: z
    .string()
    .regex(/^[\w .-]{1,40}$/, 'must be letters, digits, spaces, dots and hyphens, at most 40')
    .optional()
    .describe('Names it in logs and on pages. Default: what it is.'),
  federatedTokenFile: text
    .transform(path)
    .optional()
    .describe(
      'Workload identity: the file that always has a fresh token. Its path, from the folder of this file.',
    ),
  certificate: readBy(secret)
    .optional()
    .describe(
      'A certificate in PEM, with its private key or without: file:/path, ${ENV_NAME}, or the text itself.',
    ),
  privateKey: readBy(secret)
    .optional()
    .describe('The private key of the certificate in PEM, unencrypted, where it is not beside it.'),
  secret: readBy(secret)
    .optional()
    .describe('Value of a client secret: ${ENV_NAME}, file:/path, or the secret itself.'),
  expiresAt: z
    .union([z.iso.date(), z.iso.datetime({ offset: true })], {
      error: 'must be a date such as 2027-01-31, or a time such as 2027-01-31T12:00:00Z',
    })
    .transform((told) => new Date(told).toISOString())
    .optional()
    .describe('When the secret expires, for the warning before it.'),
})

/** What proves to be one, with the id that the file tells, if it tells one. */
export type ToldCredential = { id: string | undefined; credential: Credential }

const credential = (readers: ValueReaders) =>
  z
    .strictObject(credentialShape(readers))
    .meta({ oneOf: ['federatedTokenFile', 'certificate', 'secret'].map((name) => ({ required: [name] })) })
    .transform((told, context): ToldCredential => {
      const { id, federatedTokenFile: tokenFile, certificate, privateKey = '', secret, expiresAt } = told
      if (tokenFile !== undefined)
        return { id, credential: { kind: 'federated', id: 'federated', tokenFile } }
      if (certificate === undefined)
        return { id, credential: { kind: 'secret', id: 'secret', secret: secret ?? '', expiresAt } }
      try {
        return { id, credential: certificateOf(`${certificate}\n${privateKey}`, 'certificate') }
      } catch {
        context.addIssue("can't be read as PEM with a certificate and its unencrypted private key")
        return z.NEVER
      }
    })

const filtersShape = {
  securityEnabled: z.boolean().optional().describe('true keeps only security-enabled groups.'),
  unified: sourceSettings.GROUP_FILTER_UNIFIED.optional().describe(
    'only keeps Microsoft 365 groups, exclude all but those.',
  ),
  ids: guids.optional().describe('Object ids of the groups to keep.'),
  names: pattern.optional().describe('Keeps groups whose display name this RE2 pattern matches.'),
  excludeNames: pattern.optional().describe('Keeps out groups whose display name this RE2 pattern matches.'),
}

const guardShape = (maxRemovals: number) => ({
  minRemovals: z.int().min(1).max(maxRemovals).optional().describe('Memberships.'),
  maxShare: z.int().min(1).max(100).optional().describe('Share of all of them, in percent.'),
})
const guardShapes = { guard: guardShape(1_000_000), resyncGuard: guardShape(1_000_000_000) }

const signUpShape = {
  policy: sourceSettings.SIGN_UP.describe(
    'anyone whom Entra lets sign in, only who is invited, or only members of the groups.',
  ),
  groups: guids.max(maxSignUpGroups).optional().describe('Object ids of the groups of policy members.'),
}

const sourceShape = (readers: ValueReaders) => ({
  slug: sourceSettings.SOURCE_SLUG.describe('Name of the source in its URLs.'),
  name: sourceSettings.SOURCE_NAME.min(1).describe('Name of the source on its button.'),
  icon: readBy(readers.icon)
    .optional()
    .describe(
      'A data: URL of an image, or the path of a .png or .svg file, from the folder of this file; at most 64 KiB.',
    ),
  enabled: z
    .boolean()
    .default(true)
    .describe('false: nobody signs in through it, and its people are not synced.'),
  promoted: z.boolean().default(false).describe('true: shown first on the sign-in page.'),
  cloud: sourceSettings.ENTRA_CLOUD.default('global').describe('National cloud of the tenant.'),
  tenant: sourceSettings.ENTRA_TENANT_ID.describe(
    'Directory (tenant) id, or organizations or common for several tenants.',
  ),
  allowedTenants: z
    .union([z.literal('any'), guids], { error: 'must be any, or a list of tenant ids' })
    .optional()
    .describe('With tenant organizations or common: ids of the tenants whose people may sign in, or any.'),
  clientId: guid.describe('Application (client) id.'),
  credentials: z
    .array(credential(readers))
    .min(1)
    .describe('How the app proves itself to Entra; one that is refused makes room for the next.'),
  scopes: z
    .array(z.string().regex(/^[!-~]+$/, 'must be a permission, without spaces'))
    .default([...defaultScopes])
    .describe(
      'Permissions of Microsoft Graph that a sign-in asks for. Without one that reads groups, there is no group sync.',
    ),
  groupSync: z.boolean().default(true).describe('false: people sign in, and their groups are left alone.'),
  groupRead: sourceSettings.GROUP_READ.default('transitive').describe(
    'transitive also reads groups within groups, direct only those the person is in directly.',
  ),
  filters: z.strictObject(filtersShape).default({}).describe('Which groups are kept; a group must pass all.'),
  guard: z
    .strictObject(guardShapes.guard)
    .default({})
    .describe('From which removals on a plan for one person is held. Default: GUARD_*.'),
  resyncGuard: z
    .strictObject(guardShapes.resyncGuard)
    .default({})
    .describe('From which removals on the plans of a resync are held. Default: GUARD_RESYNC_*.'),
  tenantSize: sourceSettings.TENANT_SIZE.default('S').describe(
    'What Graph allows: S below 50 users, M up to 500, L above.',
  ),
  graphUnitsPer10s: z
    .int()
    .min(10)
    .max(1_000_000)
    .optional()
    .describe('Resource units that all workers together use in ten seconds. Default: by the size.'),
  signUp: z
    .strictObject(signUpShape)
    .default({ policy: 'anyone' })
    .describe('Who may become a user at a first sign-in.'),
  resync: z
    .strictObject(resyncShape)
    .default({})
    .describe('When and how people are brought up to date who do not sign in.'),
  exchange: z
    .strictObject(exchangeShape)
    .default({})
    .describe('Whose tokens of Entra are exchanged for local ones, and what groups services have.'),
  authorityHost: origin
    .superRefine(refusePath)
    .optional()
    .describe('Where Entra ID is, for a simulator or a proxy. Default: by the cloud.'),
  graphBaseUrl: origin
    .superRefine(refusePath)
    .optional()
    .describe('Where Microsoft Graph is, for a simulator or a proxy. Default: by the cloud.'),
})

/** One source of the file, with what stands elsewhere read. */
export const sourceEntry = (readers: ValueReaders) => z.strictObject(sourceShape(readers))

export type SourceEntry = z.output<ReturnType<typeof sourceEntry>>

const fileShape = <Source extends z.ZodType>(source: Source) => ({
  $schema: z.string().optional().describe('Where this schema is, for editors; JSON has no comments for it.'),
  sources: z.array(source).min(1).max(maxSources).describe('In the order they are offered in.'),
})

/** The file around its sources, which are parsed one by one. */
export const sourcesFile = z.strictObject(fileShape(z.unknown()))

const inert: ValueReaders = {
  secret: (value) => ({ value }),
  icon: (value) => ({ value }),
  path: (value) => value,
}

const entryKeys: Readonly<Record<string, readonly string[]>> = {
  '': Object.keys(sourceShape(inert)),
  credentials: Object.keys(credentialShape(inert)),
  filters: Object.keys(filtersShape),
  guard: Object.keys(guardShapes.guard),
  resyncGuard: Object.keys(guardShapes.resyncGuard),
  signUp: Object.keys(signUpShape),
  resync: Object.keys(resyncShape),
  exchange: Object.keys(exchangeShape),
}

/** The keys that a mapping of the file may have, by its path. */
export function keysAt([, index, key]: readonly PropertyKey[]): readonly string[] {
  return index === undefined ? Object.keys(sourcesFile.shape) : (entryKeys[String(key ?? '')] ?? [])
}

/** The JSON Schema of the file, for editors. It says less than the parser checks. */
export function sourcesJsonSchema(): Record<string, unknown> {
  const schema = z
    .strictObject(fileShape(sourceEntry(inert)))
    .meta({ title: 'entra-group-sync: sources', description: 'What SOURCES_FILE names, as YAML or JSON.' })
  return {
    ...z.toJSONSchema(schema, {
      // What editors know best.
      target: 'draft-07',
      io: 'input',
      override: ({ jsonSchema }) => {
        // JSON Schema has no flag for "whatever the case".
        if (jsonSchema.pattern?.includes('0-9a-f'))
          jsonSchema.pattern = jsonSchema.pattern.replaceAll('0-9a-f', '0-9A-Fa-f')
      },
    }),
  }
}
