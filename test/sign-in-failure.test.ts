import { describe, expect, test } from 'vitest'
import { describeSignInFailure } from '../src/login/sign-in-failure.ts'
import { createBrowser } from './support/browser.ts'
import { givenDatabase } from './support/database.ts'
import { entraOf, publicUrl, testGateway } from './support/gateway.ts'
import { callbackPath, givenTinyEntra, loginPath, type TinyEntra } from './support/tiny-entra.ts'

let entra: TinyEntra
const database = givenDatabase()

givenTinyEntra((given) => (entra = given))

const correlationId = '5f0c2a52-0a7e-4f1a-8a2b-0f2d3c4b5a69'
const unwell = JSON.stringify({
  error: 'temporarily_unavailable',
  error_codes: [90033],
  correlation_id: correlationId,
})

/** What a person sees of a sign-in at this Entra, and what is logged of it. */
async function signIn() {
  const { app, logLines } = testGateway({ db: database.db, configs: [entra.source] })
  const answer = await createBrowser(app, publicUrl).open(loginPath)
  const logged = logLines.find((line) => line.includes('sign-in failed')) ?? ''
  const text = await answer.text()
  return { status: answer.status, pause: answer.headers.get('retry-after'), text, logged }
}

describe('an Entra that is unwell', () => {
  test('says its code and the correlation id on the page and in the log', async () => {
    entra.next.tokenError = { status: 503, body: unwell }
    const { status, pause, text, logged } = await signIn()
    expect([status, pause]).toEqual([503, '30'])
    expect(text).toMatch(new RegExp(`temporarily_unavailable[^]*AADSTS90033[^]*${correlationId}`))
    expect(logged).toMatch(new RegExp(`AADSTS90033.*${correlationId}`))
  })

  test('says the same however often its answer is read', async () => {
    entra.next.tokenError = { status: 503, body: unwell }
    const pending = { slug: 'entra-id', state: 's', nonce: 'n', codeVerifier: 'v', returnTo: '/' }
    const error: unknown = await entraOf(entra.source)
      .redeem(new URL(`${publicUrl}/?code=c&state=s`), pending)
      .catch((thrown: unknown) => thrown)
    for (let read = 0; read < 2; read += 1)
      expect(await describeSignInFailure(error)).toMatchObject({ aadsts: 'AADSTS90033', correlationId })
  })

  test('says its correlation id also where its endpoints cannot be read', async () => {
    entra.next.discoveryError = { status: 500, body: unwell }
    const { status, text, logged } = await signIn()
    expect(status).toBe(503)
    expect(text).toContain(correlationId)
    expect(logged).toContain(correlationId)
  })

  test.for([
    ['seconds', '7', '7'],
    ['hours, for one at most', '86400', '3600'],
    ['no time that makes sense', 'soon', '30'],
  ] as const)('names %s until the next try, wherever it is asked', async ([, asked, told]) => {
    const error = { status: 503, body: unwell, headers: { 'retry-after': asked } } as const
    entra.next.tokenError = error
    expect((await signIn()).pause).toBe(told)
    entra.next.tokenError = { ...error, status: 429 }
    expect((await signIn()).pause).toBe(told)
  })

  test('names the time until the next try where its endpoints are read', async () => {
    entra.next.discoveryError = { status: 503, body: unwell, headers: { 'retry-after': '7' } }
    expect(await signIn()).toMatchObject({ status: 503, pause: '7' })
  })

  test.for([
    ['cut off', '{"token_type":"Bearer","access_tok'],
    ['without end', JSON.stringify({ padding: 'x'.repeat(1_100_000) })],
  ] as const)('is worth another try where its answer is %s', async ([, body]) => {
    entra.next.tokenError = { status: 200, body }
    const { status, pause, text } = await signIn()
    expect([status, pause]).toEqual([503, '30'])
    expect(text).toContain('can’t be reached right now')
  })
})

test('a refusal names no time to wait, whatever stands beside it', async () => {
  const body = JSON.stringify({ error: 'invalid_grant', error_codes: [70008] })
  entra.next.tokenError = { status: 400, body, headers: { 'retry-after': '7' } }
  expect(await signIn()).toMatchObject({ status: 400, pause: null })
})

describe('a failure of somebody who has a session', () => {
  const { wanted, claims } = {
    wanted: 'c1',
    claims: { access_token: { acrs: { essential: true, value: 'c1' } } },
  }

  /** Comes back with that error from a trip for claims. */
  async function failWith(number: string, change: (cookies: Map<string, unknown>) => void = () => undefined) {
    const { app } = testGateway({ db: database.db, configs: [entra.source] })
    const browser = createBrowser(app, publicUrl)
    await browser.open(loginPath)
    await database.db
      .$client`update delegated_tokens set state = 'needs_login', reason = 'x', claims = ${JSON.stringify(claims)}`
    const away = new URL((await browser.fetchOnce(loginPath)).headers.get('location') ?? '')
    expect(away.searchParams.get('claims')).toContain(wanted)
    change(browser.cookies())
    const query = {
      error: 'access_denied',
      error_description: number,
      state: away.searchParams.get('state') ?? '',
    }
    return await (await browser.open(`${callbackPath}?${new URLSearchParams(query).toString()}`)).text()
  }

  test.for([
    ['AADSTS50076', /You are still signed in/],
    ['AADSTS53003', /You are still signed in/],
    ['AADSTS50057', /You are not signed in[^]*account is disabled[^]*another account/],
    ['AADSTS700016', /You are not signed in[^]*registration/],
    ['AADSTS90072', /You are not signed in[^]*not one that may use[^]*another account/],
  ] as const)('with %s says of the session what is so', async ([number, page]) => {
    expect(await failWith(number)).toMatch(page)
  })

  test('that has ended meanwhile does not say that they are still signed in', async () => {
    const text = await failWith('AADSTS50076', (cookies) => cookies.delete('egs_session'))
    expect(text).toContain('You are not signed in')
  })
})

test('a known number says more than the name of the error beside it', async () => {
  const { app } = testGateway({ db: database.db, configs: [entra.source] })
  const browser = createBrowser(app, publicUrl)
  const away = await browser.fetchOnce(loginPath)
  const state = new URL(away.headers.get('location') ?? '').searchParams.get('state') ?? ''
  const query = new URLSearchParams({
    error: 'server_error',
    error_description: 'AADSTS50105: not assigned',
    state,
  })
  const answer = await browser.open(`${callbackPath}?${query.toString()}`)
  expect([answer.status, await answer.text()]).toEqual([
    400,
    expect.stringMatching(/not assigned to this application/),
  ])
})

test('the choice of another account is kept where Entra wants more once it sees the code', async () => {
  const { app } = testGateway({ db: database.db, configs: [entra.source] })
  const browser = createBrowser(app, publicUrl)
  const body = {
    error: 'interaction_required',
    claims: JSON.stringify({ access_token: { nbf: { essential: true } } }),
  }
  entra.next.tokenError = { status: 400, body: JSON.stringify(body) }
  await browser.open(`${loginPath}?prompt=select_account`)
  const asked = browser.visited.filter((address) => address.includes('/authorize?'))
  expect(asked.map((address) => new URL(address).searchParams.get('prompt'))).toEqual([
    'select_account',
    'select_account',
  ])
})

test('a proxy that names this host as it calls it is not sent in circles', async () => {
  const { app } = testGateway({
    db: database.db,
    configs: [entra.source],
    publicUrl: 'https://groups.example',
  })
  const answer = await app.request(`http://127.0.0.1:3000${loginPath}`)
  expect(answer.headers.get('location')).toContain('/authorize?')
})

test('a session that is slow to be read does not hold up who signs in', async () => {
  const { app } = testGateway({ db: database.db, configs: [entra.source] })
  const browser = createBrowser(app, publicUrl)
  await browser.open(loginPath)
  await database.db.$client.begin(async (sql) => {
    await sql`lock table sessions in access exclusive mode`
    expect((await browser.fetchOnce(loginPath)).headers.get('location')).toContain('/authorize?')
  })
})
