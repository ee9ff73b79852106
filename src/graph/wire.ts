import { z } from 'zod'
import { isStorableText, storableText } from '../storable-text.ts'

/** Graph's error body; `innerError` is also spelled `innererror` (Graph docs: errors). */
export const graphError = z.object({
  error: z.object({
    code: z.string().catch(''),
    innerError: z.object({ 'request-id': z.string().optional() }).optional().catch(undefined),
    innererror: z.object({ 'request-id': z.string().optional() }).optional().catch(undefined),
  }),
})

/** An id of a group, or of anything else that is stored by it; one that can't be is no id. */
export const objectId = z
  .string()
  .min(1)
  .max(64)
  .refine(isStorableText)
  .transform((id) => id.toLowerCase())

/**
 * A group as `$select` asks for it. Objects the token may not read come with id and type only: scalars null, collections
 * empty (Graph docs: permissions-overview, limited information).
 */
const group = z
  .object({
    id: objectId,
    displayName: z.string().nullish(),
    description: z.string().nullish(),
    mail: z.string().nullish(),
    securityEnabled: z.boolean().nullish(),
    mailEnabled: z.boolean().nullish(),
    groupTypes: z.array(z.string()).nullish(),
  })
  .transform(({ id, groupTypes, ...labels }) => {
    const limited = labels.securityEnabled == null && labels.mailEnabled == null
    return {
      objectId: id,
      displayName: labels.displayName ?? null,
      description: labels.description ?? null,
      mail: labels.mail ?? null,
      securityEnabled: labels.securityEnabled ?? null,
      mailEnabled: labels.mailEnabled ?? null,
      groupTypes: limited ? null : (groupTypes ?? null),
    }
  })

export const groupProperties = [
  'id',
  'displayName',
  'description',
  'mail',
  'securityEnabled',
  'mailEnabled',
  'groupTypes',
]

/** Whether an answer is understood: one that carries an error beside its value, or a link we don't know, is no page. */
const isUnderstood = (page: object) =>
  Object.keys(page).every((key) => key === '@odata.nextLink' || !/^error$|link$/i.test(key))

/** A page proves something only as far as it is understood. */
export const groupPage = z
  .looseObject({
    value: z.array(group),
    '@odata.nextLink': z.string().optional(),
    /** How many there are in all; on the first page only (Graph docs: paging). */
    '@odata.count': z.number().int().nonnegative().optional(),
  })
  .refine(isUnderstood)

export type GroupPage = z.output<typeof groupPage>

/** A property that is missing, too long or of another type is not told; a person without an id is no person. */
const text = z.string().max(1024).transform(storableText)
const told = text.nullish().catch(null)

/** A person as Graph shows them: their id, their labels, and whether they may sign in, which only administrators see. */
export const person = z
  .object({
    id: z.string().transform((id) => id.toLowerCase()),
    displayName: told,
    userPrincipalName: told,
    mail: told,
    otherMails: z.array(text).max(100).nullish().catch(null),
    accountEnabled: z.boolean().nullish().catch(null),
  })
  .transform(({ id, accountEnabled, ...labels }) => ({
    id,
    enabled: accountEnabled ?? undefined,
    profile: {
      displayName: labels.displayName ?? null,
      userPrincipalName: labels.userPrincipalName ?? null,
      mail: labels.mail ?? null,
      otherMails: labels.otherMails ?? null,
    },
  }))

export type Person = z.output<typeof person>

export const profileProperties = ['id', 'displayName', 'userPrincipalName', 'mail', 'otherMails']

/** Who isn't on it isn't there only where it is the last page. */
export const peoplePage = z
  .looseObject({ value: z.array(person), '@odata.nextLink': z.string().optional() })
  .refine(isUnderstood)

export type PeoplePage = z.output<typeof peoplePage>

/** A batch as far as one needs to know how much it asks. */
export const batchQuestion = z.object({ requests: z.array(z.unknown()) })

/** What can't be a header is left out, and nothing else for its sake. */
function headersOf(given: Record<string, unknown>): Headers {
  const headers = new Headers()
  for (const [name, value] of Object.entries(given)) {
    try {
      if (typeof value === 'string' || typeof value === 'number') headers.set(name, String(value))
    } catch {
      // Not a name, or not a value, that HTTP knows.
    }
  }
  return headers
}

/** One that is malformed takes nothing from the others; its status is then one that nobody sends. */
const innerAnswer = z.object({
  id: z.string(),
  status: z.number().int().catch(0),
  headers: z.record(z.string(), z.unknown()).catch({}).transform(headersOf),
  body: z.unknown().optional(),
})

/** Inner answers come in any order; bodies may be objects or, for other types, text (Graph docs: json-batching). */
export const batchAnswer = z.object({
  responses: z
    .array(innerAnswer.nullable().catch(null))
    .transform((responses) => responses.filter((response) => response !== null)),
})

export type BatchAnswer = z.output<typeof batchAnswer>
