import { describe, expect, test } from 'vitest'
import { describeSignInFailure } from '../src/login/sign-in-failure.ts'
import { createBrowser } from './support/browser.ts'
import { givenDatabase } from './support/database.ts'
import { entraOf, publicUrl, testGateway } from './support/gateway.ts'
import { givenTinyEntra, loginPath, type TinyEntra } from './support/tiny-entra.ts'

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
