import { z } from 'zod'
import { id, label, profile, time } from '../profile-shape.ts'

const held = {
  id,
  tenantId: id,
  objectId: id,
  displayName: label,
  origins: z
    .array(z.enum(['entra', 'local']))
    .min(1)
    .describe('Who has put the person there: Entra, or this installation.'),
  since: time.describe('Since when; of two origins the earlier.'),
}

const asOf = time.nullable().describe('The moment that was asked for; null: now.')
const next = z.string().nullable().describe('Path of the next page; null: this is the last.')
const standing = {
  kind: z
    .enum(['person', 'service'])
    .describe(
      'A service is an app that has exchanged a token of its own; it has no names but `displayName`.',
    ),
  enabled: z.boolean().describe('False: may not sign in.'),
  frozen: z.boolean().describe('True: away for so long that what is stored is not to be relied on.'),
}

/** Answer of `GET /users/{id}/groups`. */
export const userGroups = z.object({
  user: z.object({ ...profile, ...standing }),
  asOf,
  freshness: z.object({
    syncedAt: time.nullable().describe('When the memberships of today were last proven right.'),
    state: z
      .string()
      .describe('How the last run ended: `synced`, `held`, `needs_login`, `denied`, `failed`; or `never`.'),
  }),
  groups: z.array(z.object(held)),
  next,
})

/** Answer of `GET /groups/{id}/members`. */
export const groupMembers = z.object({
  group: z.object({
    id,
    tenantId: id,
    objectId: id,
    displayName: label,
    deletedAt: time.nullable().describe('When the group was proven deleted in Entra.'),
  }),
  asOf,
  members: z.array(z.object({ ...held, userPrincipalName: label, ...standing })),
  next,
})
