/** The entity type names Graph puts in `@odata.type`. */
export type ObjectType =
  | '#microsoft.graph.user'
  | '#microsoft.graph.group'
  | '#microsoft.graph.directoryRole'
  | '#microsoft.graph.administrativeUnit'
  | '#microsoft.graph.device'
  | '#microsoft.graph.servicePrincipal'

/** A user with the properties the simulator knows; names are Graph's own. Never mutated: changes replace it. */
export type User = {
  readonly '@odata.type': '#microsoft.graph.user'
  readonly id: string
  readonly businessPhones: readonly string[]
  readonly displayName: string
  readonly givenName: string | null
  readonly jobTitle: string | null
  readonly mail: string | null
  readonly mobilePhone: string | null
  readonly officeLocation: string | null
  readonly otherMails: readonly string[]
  readonly preferredLanguage: string | null
  readonly surname: string | null
  readonly userPrincipalName: string
  readonly accountEnabled: boolean
  readonly createdDateTime: string
  readonly department: string | null
  readonly userType: 'Member' | 'Guest'
}

/** A group with every property Graph returns by default. Never mutated: changes replace it. */
export type Group = {
  readonly '@odata.type': '#microsoft.graph.group'
  readonly id: string
  readonly deletedDateTime: string | null
  readonly classification: string | null
  readonly createdDateTime: string
  readonly creationOptions: readonly string[]
  readonly description: string | null
  readonly displayName: string | null
  readonly expirationDateTime: string | null
  readonly groupTypes: readonly string[]
  readonly isAssignableToRole: boolean | null
  readonly mail: string | null
  readonly mailEnabled: boolean
  readonly mailNickname: string
  readonly membershipRule: string | null
  readonly membershipRuleProcessingState: 'On' | 'Paused' | null
  readonly onPremisesDomainName: string | null
  readonly onPremisesLastSyncDateTime: string | null
  readonly onPremisesNetBiosName: string | null
  readonly onPremisesSamAccountName: string | null
  readonly onPremisesSecurityIdentifier: string | null
  readonly onPremisesSyncEnabled: boolean | null
  readonly preferredDataLocation: string | null
  readonly preferredLanguage: string | null
  readonly proxyAddresses: readonly string[]
  readonly renewedDateTime: string
  readonly resourceBehaviorOptions: readonly string[]
  readonly resourceProvisioningOptions: readonly string[]
  readonly securityEnabled: boolean
  readonly securityIdentifier: string
  readonly theme: string | null
  readonly visibility: 'Public' | 'Private' | 'HiddenMembership' | null
  readonly onPremisesProvisioningErrors: readonly string[]
}

/** An activated directory role; `roleTemplateId` is the same in every tenant, `id` is not. */
export type DirectoryRole = {
  readonly '@odata.type': '#microsoft.graph.directoryRole'
  readonly id: string
  readonly deletedDateTime: null
  readonly description: string
  readonly displayName: string
  readonly roleTemplateId: string
}

/** An administrative unit: a scope for delegated administration that shows up in uncast memberOf reads. */
export type AdministrativeUnit = {
  readonly '@odata.type': '#microsoft.graph.administrativeUnit'
  readonly id: string
  readonly deletedDateTime: null
  readonly displayName: string
  readonly description: string | null
  readonly visibility: string | null
}

/** A computer, which can be in groups beside people. */
export type Device = {
  readonly '@odata.type': '#microsoft.graph.device'
  readonly id: string
  readonly deletedDateTime: null
  readonly accountEnabled: boolean
  readonly deviceId: string
  readonly displayName: string
}

/** An app in this tenant, which can be in groups beside people. */
export type ServicePrincipal = {
  readonly '@odata.type': '#microsoft.graph.servicePrincipal'
  readonly id: string
  readonly deletedDateTime: null
  readonly accountEnabled: boolean
  readonly appId: string
  readonly displayName: string
}

export type DirectoryObject = User | Group | DirectoryRole | AdministrativeUnit | Device | ServicePrincipal
/** Who is a member without being a user or a group. */
export type OtherMember = Device | ServicePrincipal
/** What somebody can be a member of. */
export type Container = Group | DirectoryRole | AdministrativeUnit

/** The properties Graph returns for a user when no `$select` is given (Graph docs: resources/user). */
export const defaultUserProperties: readonly string[] = [
  'id',
  'businessPhones',
  'displayName',
  'givenName',
  'jobTitle',
  'mail',
  'mobilePhone',
  'officeLocation',
  'preferredLanguage',
  'surname',
  'userPrincipalName',
]
