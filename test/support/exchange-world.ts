import { decodeJwt } from 'jose'
import {
  defaultApp,
  type IdTokenFault,
  type SimulatedApp,
  type SimulatorSeed,
} from '../../src/simulator/index.ts'
import { givenWorld } from './people.ts'
import { openWorld, type World, type WorldOptions } from './world.ts'

export const application = 'orders'
export const applicationSecret = 'a-secret:of%the+orders/application'
export const apiKey = 'an-api-key-of-24-characters-or-more'

/** A daemon beside the app that people sign in through. */
export const daemonApp: SimulatedApp = {
  ...defaultApp,
  clientId: 'c0ffee00-1111-4222-8333-444455556666',
  clientSecret: 'daemon',
  displayName: 'Nightly orders',
  multiTenant: true,
}

const assertionType = 'urn:ietf:params:oauth:client-assertion-type:jwt-bearer'

const optionsOf = (
  environment: Record<string, string>,
  api: Partial<SimulatedApp>,
  seed: SimulatorSeed = {},
): WorldOptions => ({
  backend: 'postgres',
  seed: { ...seed, apps: [{ ...defaultApp, ...api }, daemonApp] },
  environment: {
    APPLICATIONS: `${application}=${applicationSecret},billing`,
    API_KEYS: apiKey,
    EXCHANGE: 'app',
    EXCHANGE_CALLERS: daemonApp.clientId,
    ...environment,
  },
})

const ownRoles = ['Orders.Read', 'Orders.Write']

/** Worlds whose gateway gives local tokens for those of the daemon. */
export function givenExchange() {
  const people = givenWorld()

  async function given(
    environment: Record<string, string> = {},
    api: Partial<SimulatedApp> = { ownRoles },
    seed: SimulatorSeed = {},
  ) {
    const world = await people.open(optionsOf(environment, api, seed))
    const url = await world.startGateway()
    return { world, url, ...clientOf(world, url) }
  }

  return { ...people, given }
}

/** One for several tests, closed by whoever opens it. */
export async function openExchange(
  environment: Record<string, string> = {},
  api: Partial<SimulatedApp> = { ownRoles },
) {
  const world = await openWorld(optionsOf(environment, api))
  const url = await world.startGateway()
  return { world, url, ...clientOf(world, url), close: world.close }
}

/** What a daemon does at a gateway, and what it has of Entra for it. */
export function clientOf({ simulator, config }: World, url: string) {
  const authorityHost = config.sources[0]?.authorityHost ?? ''
  const post = async (path: string, form: Record<string, string>, headers: Record<string, string> = {}) =>
    await fetch(url + path, {
      method: 'POST',
      body: new URLSearchParams(form),
      // A gateway that is stopped closes what is kept alive, which fetch notices late.
      headers: { connection: 'close', ...headers },
    })

  /** The daemon's own token for our API, right or wrong in some way. */
  const entraToken = async (
    more: { fault?: IdTokenFault; roles?: readonly string[]; clientId?: string } = {},
  ): Promise<string> =>
    (await simulator.appToken({ clientId: daemonApp.clientId, authorityHost, ...more })) ?? ''

  /** As authentik has it: Entra's token as the client's proof. */
  const asAssertion = async (token: string, more: Record<string, string> = {}) =>
    await post('/application/o/token/', {
      grant_type: 'client_credentials',
      client_assertion_type: assertionType,
      client_assertion: token,
      client_id: application,
      ...more,
    })

  /** As RFC 8693 has it. */
  const asSubject = async (token: string, more: Record<string, string> = {}) =>
    await post('/application/o/token/', {
      grant_type: 'urn:ietf:params:oauth:grant-type:token-exchange',
      subject_token: token,
      subject_token_type: 'urn:ietf:params:oauth:token-type:jwt',
      client_id: application,
      ...more,
    })

  /** What a good exchange gives, and what the token says. */
  const exchanged = async (answer: Response | Promise<Response>) => {
    const response = await answer
    const text = await response.text()
    if (response.status !== 200) throw new Error(`no token: ${response.status} ${text}`)
    const body: { access_token: string; expires_in: number; scope: string; issued_token_type?: string } =
      JSON.parse(text)
    return { ...body, claims: decodeJwt(body.access_token) }
  }

  return { post, entraToken, asAssertion, asSubject, exchanged }
}

/** A fault of one or more claims. */
export const claiming = (changes: Record<string, unknown>): IdTokenFault => ({
  claims: (claims) => ({ ...claims, ...changes }),
})
