import { Hono } from 'hono'
import { createBrowser } from './browser.ts'
import { givenWorld } from './people.ts'
import type { World } from './world.ts'

export const loginOf = (url: string, userPrincipalName: string) =>
  `${url}/source/oauth/login/entra-id/?return_to=/session&login_hint=${encodeURIComponent(userPrincipalName)}`

export const addUser = ({ simulator }: World, more: object = {}) => simulator.tenant.addUser(more)

/** Whole sign-ins: a world with its gateway, and a browser that goes over the network only. */
export function givenSignIn() {
  const people = givenWorld()

  async function given(environment: Record<string, string> = {}) {
    const world = await people.open({ backend: 'postgres', environment })
    const url = await world.startGateway()
    const browser = createBrowser(new Hono(), url.replace('localhost', 'unused.invalid'))
    const signIn = async (userPrincipalName: string) => await browser.open(loginOf(url, userPrincipalName))
    const post = async (path: string, origin = url) =>
      await browser.fetchOnce(url + path, { method: 'POST', headers: { origin } })
    const session = async () => await (await browser.fetchOnce(`${url}/session`)).json()
    return { world, url, browser, signIn, post, session }
  }

  return { ...people, given }
}
