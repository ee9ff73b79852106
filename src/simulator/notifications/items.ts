import { isDirectMember } from '../directory/deletions.ts'
import type { Mark } from '../directory/journal.ts'
import type { Directory } from '../directory/store.ts'
import type { LifecycleEvent, Subscription } from './settings.ts'

export type NumberedMark = { mark: Mark; position: number }
export type ChangeType = 'updated' | 'deleted'

/** One change that subscribers are told of. */
export type Change = {
  set: 'users' | 'groups'
  id: string
  changeType: ChangeType
  /** What `resourceData` says beside type and ids. */
  data: Readonly<Record<string, unknown>>
}

/**
 * What is told of some marks of the journal: properties and members of one object are told apart. Creation and soft
 * deletion arrive as `updated`, `deleted` is for good (Graph docs: resources/subscription).
 */
export function changesOf(directory: Directory, marks: readonly NumberedMark[], at: Date): Change[] {
  const objects = new Map<string, Change>()
  const members = new Map<string, Map<string, object>>()
  for (const { mark, position } of marks) {
    if (mark.what === 'member') {
      const removed = isDirectMember(directory, mark.id, mark.member) ? {} : { '@removed': 'deleted' }
      const told = members.get(mark.id) ?? new Map<string, object>()
      members.set(mark.id, told.set(mark.member, { id: mark.member, ...removed }))
      continue
    }
    const set = mark.what === 'user' ? 'users' : 'groups'
    const deleted = set === 'users' ? directory.deletedUsers : directory.deletedGroups
    const exists = directory[set].get(mark.id) !== undefined || deleted.get(mark.id) !== undefined
    const data = { eventTime: at.toISOString(), sequenceNumber: position + 1 }
    objects.set(mark.id, { set, id: mark.id, changeType: exists ? 'updated' : 'deleted', data })
  }
  const changed = [...members].map(([id, told]): Change => ({
    set: 'groups',
    id,
    changeType: 'updated',
    data: { 'members@delta': [...told.values()] },
  }))
  return [...objects.values(), ...changed]
}

/** Whether a subscription is about a change: of all users or groups, or of one of them. */
export function isAbout({ resource, changeType }: Subscription, change: Change): boolean {
  const [set, id] = resourceParts(resource)
  return (
    set === change.set &&
    (id === undefined || id === change.id) &&
    changeType.split(',').includes(change.changeType)
  )
}

export function resourceParts(resource: string): [set: string | undefined, id: string | undefined] {
  const [set, id] = resource.replace(/^\//, '').split('/')
  return [set?.toLowerCase(), id?.toLowerCase()]
}

/** A change as the subscriber gets it; `@removed` of a member is a string here, unlike in delta queries. */
export function notificationOf(subscription: Subscription, change: Change, tenantId: string): object {
  const [name, type] = change.set === 'users' ? ['Users', 'User'] : ['Groups', 'Group']
  const resource = `${name}/${change.id}`
  return {
    changeType: change.changeType,
    clientState: subscription.clientState,
    resource,
    resourceData: {
      '@odata.type': `#Microsoft.Graph.${type}`,
      '@odata.id': resource,
      id: change.id,
      organizationId: tenantId,
      ...change.data,
    },
    subscriptionExpirationDateTime: subscription.expirationDateTime,
    subscriptionId: subscription.id,
    tenantId,
  }
}

/** Graph docs: change-notifications-lifecycle-events. */
export function lifecycleNotificationOf(
  { id, expirationDateTime, clientState }: Subscription,
  lifecycleEvent: LifecycleEvent,
  tenantId: string,
): object {
  return {
    subscriptionId: id,
    subscriptionExpirationDateTime: expirationDateTime,
    tenantId,
    clientState,
    lifecycleEvent,
  }
}
