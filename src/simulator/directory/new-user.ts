import type { User } from './objects.ts'

/** What `Tenant.addUser` takes; everything left out is made up. */
export type NewUser = {
  id?: string
  displayName?: string
  givenName?: string | null
  surname?: string | null
  userPrincipalName?: string
  mail?: string | null
  /** Default none, and for a guest the address at home. */
  otherMails?: readonly string[]
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
  const ownMail = guest ? `${local}@partner.example` : userPrincipalName
  const mail = wanted.mail === undefined ? ownMail : wanted.mail
  return {
    '@odata.type': '#microsoft.graph.user',
    id,
    businessPhones: [],
    displayName: wanted.displayName ?? `User ${id.slice(0, 8)}`,
    givenName: wanted.givenName ?? null,
    jobTitle: wanted.jobTitle ?? null,
    mail,
    mobilePhone: null,
    officeLocation: wanted.officeLocation ?? null,
    otherMails: wanted.otherMails ?? (guest && mail !== null ? [mail] : []),
    preferredLanguage: wanted.preferredLanguage ?? null,
    surname: wanted.surname ?? null,
    userPrincipalName,
    accountEnabled: wanted.accountEnabled ?? true,
    createdDateTime: created,
    department: wanted.department ?? null,
    userType: guest ? 'Guest' : 'Member',
  }
}
