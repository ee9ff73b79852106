import { z } from 'zod'
import { defaultApp, type Simulator } from '../../src/simulator/index.ts'
import type { Target } from './graph-requests.ts'

/** Asks the token endpoint for a token of the default app itself. */
export async function askAppToken(simulator: Simulator): Promise<Response> {
  return await fetch(`${simulator.entraUrl}/${simulator.tenant.id}/oauth2/v2.0/token`, {
    method: 'POST',
    body: new URLSearchParams({
      grant_type: 'client_credentials',
      client_id: defaultApp.clientId,
      client_secret: defaultApp.clientSecret ?? '',
      scope: 'https://graph.microsoft.com/.default',
    }),
  })
}

/** Graph as the default app itself reads it, with the registered permissions or these. */
export async function appOnly(simulator: Simulator, roles?: readonly string[]): Promise<Target> {
  simulator.appRoles(defaultApp.clientId, roles)
  const answer = z.object({ access_token: z.string() }).parse(await (await askAppToken(simulator)).json())
  return { graphUrl: simulator.graphUrl, token: answer.access_token, objectId: '', userPrincipalName: '' }
}
