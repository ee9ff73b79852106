import type { Random } from '../random.ts'
import { awkwardGroupNames, departments, locations, projectAdjectives, projectNouns } from './names.ts'
import type { GroupKind, NewGroup } from './new-group.ts'

/** A group to make, by a key that others name as the group they are nested in. */
export type PlannedGroup = { key: string; group: NewGroup; parent?: string }

export const archiveSize = 1_100
const projectsInProgram = 12

/** The groups every simulated company has, parents before or after children as it comes. */
export function companyGroups(): PlannedGroup[] {
  const everyone = { key: 'everyone', group: { displayName: 'All Company', dynamic: true } }
  const teams = departments.flatMap((displayName): PlannedGroup[] => [
    {
      key: `department ${displayName}`,
      group: { displayName, dynamic: true, description: `Everybody in ${displayName}` },
    },
    { key: `team ${displayName}`, group: { displayName, kind: 'microsoft365', visibility: 'Private' } },
  ])
  return [everyone, ...teams, ...locationGroups(), ...specialGroups(), ...awkward()]
}

/** Projects of every kind; each twelfth leads a program that contains the others, each of those sits in a portfolio. */
export function projectGroups(count: number, random: Random): PlannedGroup[] {
  return Array.from({ length: count }, (_, index): PlannedGroup => {
    const displayName = `${random.pick(projectAdjectives)} ${random.pick(projectNouns)}`
    const program = index - (index % projectsInProgram)
    const portfolio = index - (index % projectsInProgram ** 2)
    const parent = index === program ? portfolio : program
    const key = `project ${index}`
    // Leaders are security groups: a Microsoft 365 group cannot contain groups.
    const kind: GroupKind =
      index === program
        ? 'security'
        : random.pick(['security', 'security', 'microsoft365', 'mail-security', 'distribution'])
    const group: NewGroup = { displayName, kind, description: `Project ${index + 1}` }
    return parent === index ? { key, group } : { key, group, parent: `project ${parent}` }
  })
}

/** Enough groups to put their members over one page of 999. */
export function archiveGroups(): PlannedGroup[] {
  return Array.from({ length: archiveSize }, (_, index) => ({
    key: `archive ${index}`,
    group: { displayName: `Archive ${String(index + 1).padStart(4, '0')}` },
  }))
}

function locationGroups(): PlannedGroup[] {
  const planned = new Map<string, PlannedGroup>()
  const plan = (displayName: string, parent?: string): void => {
    const key = `location ${displayName}`
    const group = { displayName: `Location: ${displayName}` }
    planned.set(key, parent === undefined ? { key, group } : { key, group, parent: `location ${parent}` })
  }
  plan('Worldwide')
  for (const [region, country, city] of locations) {
    plan(region, 'Worldwide')
    plan(country, region)
    plan(city, country)
  }
  return [...planned.values()]
}

function specialGroups(): PlannedGroup[] {
  return [
    { key: 'approvers', group: { displayName: 'Invoice approvers', kind: 'mail-security' } },
    { key: 'newsletter', group: { displayName: 'Newsletter', kind: 'distribution' } },
    {
      key: 'works council',
      group: { displayName: 'Works council', kind: 'microsoft365', visibility: 'HiddenMembership' },
    },
    { key: 'administrators', group: { displayName: 'Directory administrators', isAssignableToRole: true } },
    // A circle of three: legal in Entra, and a trap for anybody who walks nesting.
    { key: 'owners', group: { displayName: 'Platform owners' }, parent: 'operators' },
    { key: 'operators', group: { displayName: 'Platform operators' }, parent: 'reviewers' },
    { key: 'reviewers', group: { displayName: 'Platform reviewers' }, parent: 'owners' },
  ]
}

function awkward(): PlannedGroup[] {
  return awkwardGroupNames.map((displayName, index) => ({ key: `awkward ${index}`, group: { displayName } }))
}
