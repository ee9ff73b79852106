import { z } from 'zod'

/** Ours, or one of Entra. */
export const id = z.guid()
export const label = z.string().nullable()
export const time = z.iso.datetime({ offset: true })

/** What answers tell of who somebody is. */
export const profile = {
  id,
  tenantId: id,
  objectId: id,
  displayName: label,
  userPrincipalName: label,
  mail: label,
}
