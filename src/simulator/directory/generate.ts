import { randomFrom, type Random } from '../random.ts'
import { archiveGroups, archiveSize, companyGroups, projectGroups, type PlannedGroup } from './group-plan.ts'
import {
  awkwardGroupNames,
  departments,
  directoryRoles,
  givenNames,
  jobTitles,
  locations,
  surnames,
} from './names.ts'
import type { User } from './objects.ts'
import type { Tenant } from './tenant.ts'

/** How large a tenant is wanted; `groups` undefined follows the users. */
export type TenantSize = { seed: number; users: number; groups: number | undefined }

type GroupIds = ReadonlyMap<string, string>

/** One user in this many is in more groups than one page of Graph holds. */
const usersPerHoarder = 250
const hoarderIndex = 7

/**
 * Fills an empty tenant with a company: the same size gives the same objects, ids and links. Every user is in some
 * group except the last, who is in nothing at all.
 */
export function generateTenant(tenant: Tenant, size: TenantSize): void {
  const random = randomFrom(size.seed, 'company')
  const plan = planGroups(size, random)
  const groups = new Map(plan.map(({ key, group }) => [key, tenant.addGroup(group).id]))
  for (const { key, parent } of plan) {
    const parentId = parent === undefined ? undefined : groups.get(parent)
    if (parentId !== undefined) tenant.nest(parentId, groups.get(key) ?? '')
  }
  const projects = plan.flatMap(({ key }) => (key.startsWith('project ') ? (groups.get(key) ?? []) : []))
  const users = Array.from({ length: size.users }, (_, index) => addUser(tenant, index, random))
  const members = users.length > 1 ? users.slice(0, -1) : users
  for (const [index, user] of members.entries()) joinCompany(tenant, groups, user, index, random)
  for (const user of members) joinProjects(tenant, projects, user, random)
  if (users.length > 0) addAdministration(tenant, groups, members)
}

function planGroups(size: TenantSize, random: Random): PlannedGroup[] {
  const company = companyGroups()
  const wanted = size.groups ?? Number.POSITIVE_INFINITY
  const archive = size.users >= 50 && wanted >= company.length + archiveSize ? archiveGroups() : []
  const left = wanted - company.length - archive.length
  const projects = size.groups === undefined ? Math.max(24, Math.ceil(size.users * 0.4)) : Math.max(0, left)
  return [...company, ...projectGroups(projects, random), ...archive].slice(0, size.groups)
}

function addUser(tenant: Tenant, index: number, random: Random): User {
  const [given, givenAscii] = random.pick(givenNames)
  const [surname, surnameAscii] = random.pick(surnames)
  const local = `${givenAscii}.${surnameAscii}${index + 1}`
  const guest = random.chance(1 / 15)
  const withoutMail = random.chance(1 / 20)
  const [, , city] = random.pick(locations)
  const home = 'partner.example'
  return tenant.addUser({
    displayName: `${given} ${surname}${guest ? ' (Guest)' : ''}`,
    givenName: given,
    surname,
    userPrincipalName: guest ? `${local}_${home}#EXT#@${tenant.domain}` : `${local}@${tenant.domain}`,
    mail: withoutMail ? null : `${local}@${guest ? home : tenant.domain}`,
    guest,
    department: random.pick(departments),
    jobTitle: random.pick(jobTitles),
    officeLocation: city,
  })
}

/** What people are in because of who they are. */
function joinCompany(tenant: Tenant, groups: GroupIds, user: User, index: number, random: Random): void {
  const join = (key: string): void => {
    const id = groups.get(key)
    if (id !== undefined) tenant.addMember(id, user.id)
  }
  join('everyone')
  join(`department ${user.department}`)
  if (random.chance(0.9)) join(`team ${user.department}`)
  join(`location ${user.officeLocation}`)
  if (random.chance(0.5)) join('newsletter')
  if (random.chance(0.03)) join('approvers')
  if (random.chance(0.02)) join('works council')
  if (random.chance(0.04)) join(random.pick(['owners', 'operators', 'reviewers']))
  for (const [awkward] of awkwardGroupNames.entries()) {
    // The first users share them out, so that even a small tenant has each in use.
    if (index % awkwardGroupNames.length === awkward ? index < 40 : random.chance(0.02))
      join(`awkward ${awkward}`)
  }
  if (index % usersPerHoarder === hoarderIndex)
    for (let each = 0; each < archiveSize; each++) join(`archive ${each}`)
}

/** A few people are in very many projects, most in a handful. */
function joinProjects(tenant: Tenant, projects: readonly string[], user: User, random: Random): void {
  if (projects.length === 0) return
  const share = random.integer(1000) / 1000
  const count = Math.min(projects.length, 2 + Math.floor(22 * share ** 2))
  for (let joined = 0; joined < count; joined++) tenant.addMember(random.pick(projects), user.id)
}

/** Directory roles and administrative units, which readers that don't cast meet beside groups. */
function addAdministration(tenant: Tenant, groups: GroupIds, members: readonly User[]): void {
  const roles = directoryRoles.map((wanted) => tenant.addDirectoryRole(wanted))
  for (const [index, role] of roles.entries()) {
    for (const user of members.slice(index, index + 3)) tenant.addMember(role.id, user.id)
  }
  const administrators = groups.get('administrators')
  const userAdministrator = roles.at(-1)
  if (administrators !== undefined && userAdministrator) {
    tenant.addMember(userAdministrator.id, administrators)
    for (const user of members.slice(3, 6)) tenant.addMember(administrators, user.id)
  }
  for (const region of new Set(locations.map(([name]) => name))) {
    const unit = tenant.addAdministrativeUnit({
      displayName: `${region} region`,
      description: `Offices in ${region}`,
    })
    const cities = new Set(locations.flatMap(([name, , city]) => (name === region ? [city] : [])))
    for (const user of members) if (cities.has(user.officeLocation ?? '')) tenant.addMember(unit.id, user.id)
    const group = groups.get(`location ${region}`)
    if (group !== undefined) tenant.addMember(unit.id, group)
  }
}
