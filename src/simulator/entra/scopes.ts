import { AadstsError } from './aadsts.ts'
import type { SimulatedApp } from './apps.ts'

/** The resource id Graph tokens are for, whatever host the simulator listens on. */
export const graphResource = 'https://graph.microsoft.com'
/** Graph's own app id, another name of the same resource. */
const graphAppId = '00000003-0000-0000-c000-000000000000'

const openIdScopes = new Set(['openid', 'profile', 'email', 'offline_access'])

/** Whether an administrator must consent to a delegated Graph scope (Graph docs: permissions-reference). */
const needsAdministrator: Readonly<Record<string, boolean>> = {
  'User.Read': false,
  'User.ReadBasic.All': false,
  'User.Read.All': true,
  'GroupMember.Read.All': true,
  'GroupMember.ReadBasic.All': true,
  'Group.ReadBasic.All': true,
  'Group.Read.All': true,
  'Group.ReadWrite.All': true,
  'GroupMember.ReadWrite.All': true,
  'Directory.Read.All': true,
  'Directory.ReadWrite.All': true,
  'Member.Read.Hidden': true,
  'RoleManagement.Read.Directory': true,
  'AdministrativeUnit.Read.All': true,
}

export type GrantedScopes = {
  /** As the client wrote them, without offline_access, which Entra never prints: the answer's `scope`. */
  printed: readonly string[]
  /** Short names: the `scp` of the token. */
  graph: readonly string[]
  openId: ReadonlySet<string>
  /** Another app's, or the client's own, API and its scopes: the token is for it and not for Graph. */
  api: { app: SimulatedApp; scopes: readonly string[] } | undefined
  /** Known scopes that wait for an administrator's consent. */
  missing: readonly string[]
}

/**
 * Reads a `scope` parameter against what the app was given. Unlike Entra, which adds every earlier consented
 * scope of the same resource to the token, only what was asked for is granted; `.default` grants all of it.
 */
export function grantScopes(
  requested: string,
  app: SimulatedApp,
  graphUrls: readonly string[],
  apps: readonly SimulatedApp[],
): GrantedScopes {
  const printed: string[] = []
  const graph = new Set<string>()
  const openId = new Set<string>()
  const missing: string[] = []
  const apis = new Map<SimulatedApp, string[]>()
  for (const scope of requested.split(/\s+/).filter((part) => part !== '')) {
    const name = shortName(scope, graphUrls)
    const api = apiScopesOf(scope, apps)
    if (api) apis.set(api.app, [...(apis.get(api.app) ?? []), ...api.scopes])
    else if (openIdScopes.has(scope)) openId.add(scope)
    else if (name === '.default') {
      for (const each of app.delegatedScopes) if (!openIdScopes.has(each)) graph.add(each)
    } else if (needsAdministrator[name] === undefined) throw new AadstsError(70011, scope)
    else if (needsAdministrator[name] && !app.delegatedScopes.includes(name)) missing.push(name)
    else graph.add(name)
    if (scope !== 'offline_access' && !missing.includes(name)) printed.push(scope)
  }
  const [api] = [...apis].map(([owner, scopes]) => ({ app: owner, scopes }))
  // One token is for one resource.
  if (apis.size > 1 || (api && graph.size > 0)) throw new AadstsError(28002, requested)
  return { printed, graph: [...graph], openId, missing, api }
}

/** Scopes of an app's own API, which are taken to be consented: `api://<client id>/<scope>`, or `.default` for all. */
function apiScopesOf(
  scope: string,
  apps: readonly SimulatedApp[],
): { app: SimulatedApp; scopes: readonly string[] } | undefined {
  const slash = scope.lastIndexOf('/')
  const resource = scope.slice(0, Math.max(0, slash))
  const app = apps.find(({ clientId }) => resource === `api://${clientId}` || resource === clientId)
  if (!app) return undefined
  const name = scope.slice(slash + 1)
  const exposed = app.exposedScopes ?? []
  if (name !== '.default' && !exposed.includes(name)) throw new AadstsError(70011, scope)
  return { app, scopes: name === '.default' ? exposed : [name] }
}

/** The resource of a client credentials request: exactly one `.default` (Entra docs: v2-oauth2-client-creds). */
export function resourceOf(scope: string, graphUrls: readonly string[]): string {
  if (/\s/.test(scope.trim())) throw new AadstsError(28002, scope)
  if (!scope.endsWith('/.default')) throw new AadstsError(1002012, scope)
  const resource = scope.slice(0, -'/.default'.length).replace(/\/$/, '')
  return isGraph(resource, graphUrls) ? graphResource : resource
}

function shortName(scope: string, graphUrls: readonly string[]): string {
  const slash = scope.lastIndexOf('/')
  return slash > 0 && isGraph(scope.slice(0, slash).replace(/\/$/, ''), graphUrls)
    ? scope.slice(slash + 1)
    : scope
}

function isGraph(resource: string, graphUrls: readonly string[]): boolean {
  return resource === graphResource || resource === graphAppId || graphUrls.includes(resource)
}
