import { z } from 'zod'
import { defaultApp, type Simulator } from '../../src/simulator/index.ts'
import type { Target } from './graph-requests.ts'

/** Asks the token endpoint for a token of an app itself, the default one unless told otherwise. */
export async function askAppToken(simulator: Simulator, clientId = defaultApp.clientId): Promise<Response> {
  return await fetch(`${simulator.entraUrl}/${simulator.tenant.id}/oauth2/v2.0/token`, {
    method: 'POST',
    body: new URLSearchParams({
      grant_type: 'client_credentials',
      client_id: clientId,
      client_secret: defaultApp.clientSecret ?? '',
      scope: 'https://graph.microsoft.com/.default',
    }),
  })
}

/** Graph as an app itself reads it, with the registered permissions or these; all apps here share one secret. */
export async function appOnly(
  simulator: Simulator,
  roles?: readonly string[],
  clientId = defaultApp.clientId,
): Promise<Target> {
  simulator.appRoles(clientId, roles)
  const answer = await askAppToken(simulator, clientId)
  const { access_token: token } = z.object({ access_token: z.string() }).parse(await answer.json())
  return { graphUrl: simulator.graphUrl, token, objectId: '', userPrincipalName: '' }
}
