import type { User } from './objects.ts'

/** What `Tenant.addUser` takes; everything left out is made up. */
export type NewUser = {
  id?: string
  displayName?: string
  givenName?: string | null
  surname?: string | null
  userPrincipalName?: string
  mail?: string | null
  accountEnabled?: boolean
  /** A guest's generated user principal name has Entra's `name_home.tenant#EXT#@tenant` form. */
  guest?: boolean
  department?: string | null
  jobTitle?: string | null
  officeLocation?: string | null
  preferredLanguage?: string | null
}

/** Builds a user; the id also makes up the names that were not given. */
export function userOf(id: string, domain: string, created: string, wanted: NewUser): User {
  const local = `user-${id.slice(0, 8)}`
  const guest = wanted.guest === true
  const generatedName = guest ? `${local}_partner.example#EXT#@${domain}` : `${local}@${domain}`
  const userPrincipalName = wanted.userPrincipalName ?? generatedName
  return {
    '@odata.type': '#microsoft.graph.user',
    id,
    businessPhones: [],
    displayName: wanted.displayName ?? `User ${id.slice(0, 8)}`,
    givenName: wanted.givenName ?? null,
    jobTitle: wanted.jobTitle ?? null,
    mail: wanted.mail === undefined ? (guest ? `${local}@partner.example` : userPrincipalName) : wanted.mail,
    mobilePhone: null,
    officeLocation: wanted.officeLocation ?? null,
    preferredLanguage: wanted.preferredLanguage ?? null,
    surname: wanted.surname ?? null,
    userPrincipalName,
    accountEnabled: wanted.accountEnabled ?? true,
    createdDateTime: created,
    department: wanted.department ?? null,
    userType: guest ? 'Guest' : 'Member',
  }
}
