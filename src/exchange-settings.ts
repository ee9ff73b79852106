import { z } from 'zod'
import { guid } from './setting-shapes.ts'
import type { ExchangeRules } from './source-config.ts'

const accepts = z.enum(['off', 'app', 'delegated', 'any'], 'must be off, app, delegated or any')
const versions = z.enum(['any', 'v2'], 'must be any or v2')
const groups = z.enum(['roles', 'mapped', 'graph'], 'must be roles, mapped or graph')

/** An application id URI as Entra lets one be written, or a client id (Entra docs: identifier-uri-restrictions). */
const audience = z
  .string()
  .max(255, 'must have at most 255 characters')
  .regex(/^[a-z][a-z0-9+.-]*:[!#-~]+$/i, 'must be an application id URI, such as api://orders')

/** What stands in `roles` of a token (Entra docs: reference-app-manifest, appRoles), or a client id. */
const mapped = z.string().regex(/^[!-~]{1,120}$/, 'must be an app role or a client id, without spaces')

const listOf = (shape: z.ZodType<string>) =>
  z.string().transform((text, context): string[] =>
    text.split(/[\s,]+/).flatMap((entry, index) => {
      if (entry === '') return []
      const parsed = shape.safeParse(entry)
      if (parsed.success) return parsed.data
      context.addIssue(`entry ${index + 1} ${parsed.error.issues[0]?.message ?? 'is not acceptable'}`)
      return []
    }),
  )

/** Of a client id, as it is compared with those of callers, which are in lower case; a role as it stands. */
const nameOf = (told: string) => guid.safeParse(told).data ?? told

const mapOfNames = z
  .record(mapped, z.array(guid).min(1))
  .transform((told, context): Record<string, string[]> => {
    const map: Record<string, string[]> = Object.create(null)
    for (const [key, ids] of Object.entries(told)) {
      const name = nameOf(key)
      if (name in map) context.addIssue({ code: 'custom', message: `repeats ${name}`, path: [key] })
      map[name] = ids
    }
    return map
  })

/** `role=guid guid; <client id>=guid`. */
const groupMapText = z.string().transform((text, context): Record<string, string[]> => {
  const map: Record<string, string[]> = Object.create(null)
  for (const [index, entry] of text.split(';').entries()) {
    if (entry.trim() === '') continue
    const [, told = '', ids = ''] = /^\s*([!-~]{1,120}?)\s*=\s*(.*?)\s*$/.exec(entry) ?? []
    const name = nameOf(told)
    const parsed = z
      .array(guid)
      .min(1)
      .safeParse(ids.split(/[\s,]+/))
    if (name === '' || !parsed.success)
      context.addIssue(`entry ${index + 1} must be an app role or a client id, =, and object ids of groups`)
    else if (name in map) context.addIssue(`entry ${index + 1} repeats ${name}`)
    else map[name] = parsed.data
  }
  return map
})

/** The settings of the one source that stands in the environment. */
export const exchangeSettings = {
  EXCHANGE: accepts,
  EXCHANGE_AUDIENCES: listOf(audience),
  EXCHANGE_VERSIONS: versions,
  EXCHANGE_CALLERS: z.union([z.literal('any'), listOf(guid)], { error: 'must be any, or client ids' }),
  EXCHANGE_GROUPS: groups,
  EXCHANGE_GROUP_MAP: groupMapText,
} as const

/** The same in a file of several. */
export const exchangeShape = {
  accepts: accepts
    .optional()
    .describe(
      'Whose tokens of Entra are exchanged for local ones: those of apps (app), of people (delegated), any, or off. Default: off.',
    ),
  audiences: z
    .array(audience)
    .optional()
    .describe('Application id URIs a token may be for, besides the client id and api:// with it.'),
  versions: versions.optional().describe('Formats of tokens that are taken: any, or v2 only. Default: any.'),
  callers: z
    .union([z.literal('any'), z.array(guid).min(1)], { error: 'must be any, or a list of client ids' })
    .optional()
    .describe('Client ids of the apps that may exchange their tokens, or any that has an app role.'),
  groups: groups
    .optional()
    .describe(
      'Where the groups of a service come from: the roles of its token, groupMap (mapped), or Graph, which the app asks. Default: roles.',
    ),
  groupMap: mapOfNames
    .optional()
    .describe('With groups: mapped, object ids of groups by app role or by client id.'),
}

export type ToldExchange = {
  accepts?: z.output<typeof accepts> | undefined
  audiences?: readonly string[] | undefined
  versions?: ExchangeRules['versions'] | undefined
  callers?: ExchangeRules['callers'] | undefined
  groups?: ExchangeRules['groups'] | undefined
  groupMap?: ExchangeRules['groupMap'] | undefined
}

/** Undefined where no token is exchanged. */
export function exchangeOf(told: ToldExchange): ExchangeRules | undefined {
  const { accepts: kinds = 'off' } = told
  if (kinds === 'off') return undefined
  return Object.freeze<ExchangeRules>({
    accepts: kinds,
    audiences: told.audiences ?? [],
    versions: told.versions ?? 'any',
    callers: told.callers ?? [],
    groups: told.groups ?? 'roles',
    groupMap: told.groupMap ?? {},
  })
}

/** What doesn't go together, by the part it is about. `severalTenants`: the source takes tokens of more than one. */
export function exchangeProblems(
  told: ToldExchange,
  { severalTenants }: { severalTenants: boolean },
): { part: keyof ToldExchange; message: string }[] {
  const { accepts: kinds = 'off', callers, groups: from = 'roles', groupMap } = told
  const problems: { part: keyof ToldExchange; message: string }[] = []
  // Whoever says off may leave the rest in place.
  const rest = [callers, told.groups, groupMap, told.audiences, told.versions]
  if (told.accepts === undefined && rest.some((part) => part !== undefined))
    problems.push({
      part: 'accepts',
      message:
        'is missing: without it what else is told of an exchange does nothing; say app, delegated, any or off',
    })
  if (kinds === 'off') return problems
  if (callers === undefined)
    problems.push({
      part: 'callers',
      message: 'is missing: name the client ids of the apps that may, or any',
    })
  // A map goes by roles, which each tenant's administrators give to whom they like.
  if (from === 'mapped' && severalTenants)
    problems.push({
      part: 'groups',
      message:
        'must be roles or graph where several tenants are taken: with mapped, each of them could put its apps into your groups',
    })
  if (from === 'mapped' && groupMap === undefined)
    problems.push({ part: 'groupMap', message: 'is missing: the groups are to come from it' })
  if (from !== 'mapped' && groupMap !== undefined)
    problems.push({ part: 'groupMap', message: `goes with groups that are mapped, and they are ${from}` })
  return problems
}
