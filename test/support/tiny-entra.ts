import { createHash, randomUUID } from 'node:crypto'
import { Hono } from 'hono'
import { exportJWK, generateKeyPair, SignJWT, type JWTPayload } from 'jose'
import { beforeAll, beforeEach } from 'vitest'
import { listen } from '../../src/gateway.ts'
import type { Browser } from './browser.ts'
import { testSource, testTenantId } from './gateway.ts'

export const loginPath = '/source/oauth/login/entra-id/'
export const callbackPath = '/source/oauth/callback/entra-id/'

export const person = {
  tid: testTenantId,
  oid: '44444444-4444-4444-8444-444444444444',
  name: 'Adele Vance',
  preferred_username: 'adele@contoso.example',
  email: 'adele@contoso.example',
}

/** What no page and no log line may show of the sign-ins of a browser. */
export function secretsOf({ visited }: Browser): string[] {
  const callbacks = visited
    .map((address) => new URL(address))
    .filter(({ pathname }) => pathname === callbackPath)
  const answered = callbacks.flatMap(({ searchParams }) => [
    searchParams.get('code'),
    searchParams.get('state'),
  ])
  const given = answered.filter((value) => value !== null && value !== '')
  return [...given, 'opaque-access-token', 'opaque-refresh-token', 'eyJ'].map(String)
}

/** Lets a browser be redirected until the callback, and no further. */
export const atCallback = (next: URL): boolean => next.pathname !== callbackPath

type ToldError = { status: 200 | 400 | 429 | 500 | 503; body: string; headers?: Record<string, string> }

export type TinyEntra = Awaited<ReturnType<typeof startTinyEntra>>

/**
 * An authority that signs whatever a test tells it to, to break one check at a time. Everybody is `person`. The
 * simulator is the honest one.
 */
async function startTinyEntra() {
  const published = await generateKeyPair('RS256', { extractable: true })
  const stranger = await generateKeyPair('RS256')
  const requests: { path: string; form?: Record<string, string> }[] = []
  const codes = new Map<string, { nonce: string; challenge: string }>()
  const honest = {
    /** Added to, or (undefined) taken from, the honest claims. */
    claims: {} as Record<string, unknown>,
    key: published.privateKey as Parameters<SignJWT['sign']>[0],
    header: { alg: 'RS256', kid: 'one' },
    /** Answered at the token endpoint in place of tokens. */
    tokenError: undefined as (ToldError & { once?: true }) | undefined,
    /** Answered in place of the metadata. */
    discoveryError: undefined as ToldError | undefined,
  }
  const next = { ...honest }
  const app = new Hono()
  const base = `/${testTenantId}`
  let origin = ''

  app.use(async (c, proceed) => {
    const form =
      c.req.method === 'POST' ? Object.fromEntries(new URLSearchParams(await c.req.text())) : undefined
    requests.push({ path: c.req.path, ...(form && { form }) })
    await proceed()
  })
  app.get(`${base}/v2.0/.well-known/openid-configuration`, (c) => {
    if (next.discoveryError) {
      const { body, status, headers } = next.discoveryError
      return c.body(body, status, { 'content-type': 'application/json', ...headers })
    }
    return c.json({
      issuer: `${origin}${base}/v2.0`,
      authorization_endpoint: `${origin}${base}/oauth2/v2.0/authorize`,
      token_endpoint: `${origin}${base}/oauth2/v2.0/token`,
      jwks_uri: `${origin}${base}/discovery/v2.0/keys`,
      id_token_signing_alg_values_supported: ['RS256'],
    })
  })
  app.get(`${base}/discovery/v2.0/keys`, async (c) =>
    c.json({ keys: [{ ...(await exportJWK(published.publicKey)), kid: 'one', use: 'sig' }] }),
  )
  app.get(`${base}/oauth2/v2.0/authorize`, (c) => {
    const { redirect_uri = '', state = '', nonce = '', code_challenge: challenge = '' } = c.req.query()
    const code = randomUUID()
    codes.set(code, { nonce, challenge })
    return c.redirect(`${redirect_uri}?${new URLSearchParams({ code, state }).toString()}`)
  })
  app.post(`${base}/oauth2/v2.0/token`, async (c) => {
    if (next.tokenError) {
      const { body, status, headers, once } = next.tokenError
      if (once) next.tokenError = undefined
      return c.body(body, status, { 'content-type': 'application/json', ...headers })
    }
    const { code = '', code_verifier: verifier = '' } = requests.at(-1)?.form ?? {}
    const grant = codes.get(code)
    codes.delete(code)
    if (grant?.challenge !== createHash('sha256').update(verifier).digest('base64url')) {
      return c.json(
        { error: 'invalid_grant', error_description: 'AADSTS501481: PKCE', correlation_id: randomUUID() },
        400,
      )
    }
    const now = Math.floor(Date.now() / 1000)
    const claims: JWTPayload = {
      ver: '2.0',
      iss: `${origin}${base}/v2.0`,
      aud: testSource.clientId,
      sub: 'pairwise',
      iat: now,
      nbf: now,
      exp: now + 3600,
      nonce: grant.nonce,
      ...person,
      ...next.claims,
    }
    return c.json({
      token_type: 'Bearer',
      expires_in: 3599,
      scope: 'openid profile email User.Read GroupMember.Read.All',
      access_token: 'opaque-access-token',
      refresh_token: 'opaque-refresh-token',
      id_token: await new SignJWT(claims).setProtectedHeader(next.header).sign(next.key),
    })
  })

  const server = await listen(app, { port: 0, host: '127.0.0.1' })
  origin = server.url
  return {
    source: { ...testSource, authorityHost: origin },
    requests,
    next,
    strangersKey: stranger.privateKey,
    publicKeyText: async () => new TextEncoder().encode(JSON.stringify(await exportJWK(published.publicKey))),
    beHonest: () => {
      Object.assign(next, honest)
      requests.length = 0
    },
    close: server.close,
  }
}

/** Around the tests of the file that calls it: an authority that is honest again at the start of each. */
export function givenTinyEntra(take: (given: TinyEntra) => void): void {
  let entra: TinyEntra
  beforeAll(async () => {
    entra = await startTinyEntra()
    take(entra)
    return entra.close
  })
  beforeEach(() => entra.beHonest())
}
