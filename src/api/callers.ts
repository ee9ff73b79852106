import type { MiddlewareHandler } from 'hono'
import type { Logger } from 'pino'
import { apiKeyCheck, bearerOf, unauthorized } from './api-keys.ts'
import { unavailable } from './unavailable.ts'

/** Somebody with a token of ours: our id of the user, the tenant that they are of, and what the token is good for. */
export type SignedInCaller = { userId: string; tenantId: string; scopes: readonly string[] }

/** Undefined for what is no token of ours, or none that holds now. */
export type VerifyCaller = (bearer: string) => Promise<SignedInCaller | undefined>

/** Whoever has an API key is nobody in particular, and may read everything. */
export type Caller = 'application' | SignedInCaller

export type CallerVariables = { Variables: { caller: Caller } }

/** The scope of a token that may read everybody's groups, in the tenant whose administrator has granted it. */
export const readAll = 'groups.read.all'

/** Whether a tenant is one that the caller may know of. */
export const mayReadIn = (caller: Caller, tenantId: string) =>
  caller === 'application' || caller.tenantId === tenantId

export const mayReadAll = (caller: Caller) => caller === 'application' || caller.scopes.includes(readAll)

export type CallerParts = {
  /** None, and no token verified, closes the routes: every request is then 401. */
  apiKeys: readonly string[]
  verifyCaller: VerifyCaller
  log: Logger
}

/** Who asks; 401 where that isn't known. */
export function identifyCaller({
  apiKeys,
  verifyCaller,
  log,
}: CallerParts): MiddlewareHandler<CallerVariables> {
  const isKey = apiKeyCheck(apiKeys)
  return async (c, next) => {
    const presented = bearerOf(c)
    if (presented === undefined) return unauthorized(c, presented)
    if (isKey(presented)) c.set('caller', 'application')
    else {
      try {
        const caller = await verifyCaller(presented)
        if (!caller) return unauthorized(c, presented)
        c.set('caller', caller)
      } catch (error) {
        return unavailable(c, error, { log, what: 'caller not verified' })
      }
    }
    return await next()
  }
}
