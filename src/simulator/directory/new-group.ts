import type { Group } from './objects.ts'

/** The four kinds of group of Graph docs: resources/groups-overview. */
export type GroupKind = 'security' | 'microsoft365' | 'mail-security' | 'distribution'

/** What `Tenant.addGroup` takes; everything left out gets the value a new group of that kind has. */
export type NewGroup = {
  id?: string
  displayName: string
  kind?: GroupKind
  dynamic?: boolean
  description?: string | null
  mail?: string | null
  visibility?: Group['visibility']
  isAssignableToRole?: boolean
  securityEnabled?: boolean
}

/** Builds a group whose flags agree with its kind (Graph docs: resources/groups-overview, table of kinds). */
export function groupOf(id: string, domain: string, created: string, wanted: NewGroup): Group {
  const kind = wanted.kind ?? 'security'
  const unified = kind === 'microsoft365'
  const mailEnabled = kind !== 'security'
  const nickname = unified ? `${asciiName(wanted.displayName)}-${id.slice(0, 8)}` : id.slice(0, 9)
  const mail = mailEnabled ? (wanted.mail ?? `${nickname}@${domain}`.toLowerCase()) : (wanted.mail ?? null)
  const groupTypes = [
    ...(unified ? ['Unified'] : []),
    ...(wanted.dynamic === true ? ['DynamicMembership'] : []),
  ]
  return {
    '@odata.type': '#microsoft.graph.group',
    id,
    deletedDateTime: null,
    classification: null,
    createdDateTime: created,
    creationOptions: [],
    description: wanted.description ?? null,
    displayName: wanted.displayName,
    expirationDateTime: null,
    groupTypes,
    isAssignableToRole: wanted.isAssignableToRole ?? null,
    mail,
    mailEnabled,
    mailNickname: nickname,
    membershipRule: wanted.dynamic === true ? `(user.department -eq "${wanted.displayName}")` : null,
    membershipRuleProcessingState: wanted.dynamic === true ? 'On' : null,
    onPremisesDomainName: null,
    onPremisesLastSyncDateTime: null,
    onPremisesNetBiosName: null,
    onPremisesSamAccountName: null,
    onPremisesSecurityIdentifier: null,
    onPremisesSyncEnabled: null,
    preferredDataLocation: null,
    preferredLanguage: null,
    proxyAddresses: mail === null ? [] : [`SMTP:${mail}`],
    renewedDateTime: created,
    resourceBehaviorOptions: [],
    resourceProvisioningOptions: [],
    securityEnabled: wanted.securityEnabled ?? (kind === 'security' || kind === 'mail-security'),
    securityIdentifier: securityIdentifierOf(id),
    theme: null,
    visibility: wanted.visibility ?? (unified ? 'Public' : null),
    onPremisesProvisioningErrors: [],
  }
}

function asciiName(name: string): string {
  return name.replaceAll(/[^A-Za-z0-9]/g, '').slice(0, 40)
}

/** A cloud security identifier spells the object id as four little-endian words after S-1-12-1. */
function securityIdentifierOf(id: string): string {
  const bytes = Buffer.from(id.replaceAll('-', ''), 'hex')
  if (bytes.length !== 16) throw new TypeError(`not a directory object id: ${id}`)
  const words = [
    bytes.readUInt32BE(0),
    ((bytes.readUInt16BE(6) << 16) | bytes.readUInt16BE(4)) >>> 0,
    bytes.readUInt32LE(8),
    bytes.readUInt32LE(12),
  ]
  return `S-1-12-1-${words.join('-')}`
}
