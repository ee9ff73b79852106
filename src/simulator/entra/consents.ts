import type { User } from '../directory/objects.ts'
import type { SimulatedApp } from './apps.ts'
import type { Authority } from './authority.ts'
import { grantScopes, type GrantedScopes } from './scopes.ts'

/** What a tenant's administrator consented to for an app. */
export type Consent = {
  /** Delegated scopes given to everybody; what isn't listed takes each person's consent, or an administrator's. */
  scopes: readonly string[]
  /**
   * What becomes of a request for scopes that wait for an administrator: `refused` (the default) as Entra does, or
   * `left-out`: the token has the others only, as Entra answers a request for `.default`.
   */
  missing?: 'refused' | 'left-out'
}

/** The consents of one tenant that differ from the registration, which counts as consented to by everybody. */
export type Consents = {
  /** Undefined is as registered again. */
  order(clientId: string, consent: Consent | undefined): void
  ordered(clientId: string): Consent | undefined
  /** One person's own consent. */
  accept(clientId: string, userId: string): void
  accepted(clientId: string, userId: string): boolean
  /** Application permissions this tenant granted instead of the registered ones; undefined is as registered again. */
  grantRoles(clientId: string, roles: readonly string[] | undefined): void
  grantedRoles(app: SimulatedApp): readonly string[]
  clear(): void
}

/** Starts with every app consented to as it is registered. */
export function createConsents(): Consents {
  const orders = new Map<string, Consent>()
  const people = new Set<string>()
  const roles = new Map<string, readonly string[]>()
  return {
    order(clientId, consent) {
      for (const key of people) if (key.startsWith(`${clientId} `)) people.delete(key)
      if (consent) orders.set(clientId, consent)
      else orders.delete(clientId)
    },
    ordered: (clientId) => orders.get(clientId),
    accept: (clientId, userId) => void people.add(`${clientId} ${userId}`),
    accepted: (clientId, userId) => people.has(`${clientId} ${userId}`),
    grantRoles(clientId, granted) {
      if (granted) roles.set(clientId, [...granted])
      else roles.delete(clientId)
    },
    grantedRoles: ({ clientId, applicationRoles }) => roles.get(clientId) ?? applicationRoles,
    clear() {
      roles.clear()
      orders.clear()
      people.clear()
    },
  }
}

/** Reads a scope against what the tenant consented to, and says whose consent is still missing. */
export function consentedScopes(
  authority: Authority,
  app: SimulatedApp,
  user: User | undefined,
  scope: string,
): { scopes: GrantedScopes; needs: 'nothing' | 'person' | 'administrator' } {
  const consent = authority.consents.ordered(app.clientId)
  const seen = consent ? { ...app, delegatedScopes: consent.scopes } : app
  const scopes = grantScopes(scope, seen, authority.graphUrls(), authority.apps)
  if (scopes.missing.length > 0 && consent?.missing !== 'left-out') return { scopes, needs: 'administrator' }
  if (!consent || (user && authority.consents.accepted(app.clientId, user.id)))
    return { scopes, needs: 'nothing' }
  const all = consent.scopes.length > 0 && scopes.graph.every((each) => consent.scopes.includes(each))
  return { scopes, needs: all ? 'nothing' : 'person' }
}
