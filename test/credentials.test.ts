import fc from 'fast-check'
import * as client from 'openid-client'
import { expect, test } from 'vitest'
import { CredentialRefused } from '../src/login/entra-error.ts'
import { renewTokens } from '../src/login/renew.ts'
import { givenCredentials, minute, secret, thrownBy } from './support/app-credentials.ts'
import { clientId, newCertificate } from './support/client-entra.ts'

const given = givenCredentials()
const day = 24 * 60 * minute

test('when the first secret ends, the request that meets it goes on with the second, which stays in use', async () => {
  given.secretsAre({ old: 'good', new: 'good' })
  const { renew, changes, app } = given.app(secret('old'), secret('new'))
  await renew()
  given.secretsAre({ old: 'over', new: 'good' })
  await renew()
  await renew()
  expect(given.secretsSent()).toEqual(['old', 'old', 'new', 'new'])
  expect(changes).toEqual([{ from: 'old', to: 'new', refusedWith: 'AADSTS7000222' }])
  expect(app.status()).toEqual({
    inUse: 'new',
    credentials: [
      {
        id: 'old',
        kind: 'secret',
        asked: true,
        expiresAt: undefined,
        refusedWith: 'AADSTS7000222',
        refusedAt: expect.stringMatching(/^\d{4}-.*Z$/),
      },
      {
        id: 'new',
        kind: 'secret',
        asked: true,
        expiresAt: undefined,
        refusedWith: undefined,
        refusedAt: undefined,
      },
    ],
  })
})

test('a code that can be redeemed once is redeemed with the second secret', async () => {
  given.secretsAre({ old: 'over', new: 'good' })
  const { app, configuration } = given.app(secret('old'), secret('new'))
  const answered = new URL('http://127.0.0.1/callback?code=the-code')
  const redeem = async () =>
    await app.withCredential(() =>
      client.authorizationCodeGrant(configuration, answered, { pkceCodeVerifier: 'v'.repeat(43) }),
    )
  expect(await redeem()).toMatchObject({ access_token: 'a-token' })
  await expect(redeem()).rejects.toMatchObject({ error: 'invalid_grant' })
  expect(given.secretsSent()).toEqual(['old', 'new', 'new'])
})

test('a renewal, whose errors are our own by then, goes on with the next credential too', async () => {
  given.secretsAre({ new: 'good' })
  const { app, configuration } = given.app(secret('old'), newCertificate('unknown'), secret('new'))
  const renewed = await app.withCredential(() => renewTokens(configuration, 'the refresh token'))
  expect(renewed.accessToken).toBe('a-token')
  expect(app.status().credentials.map(({ refusedWith }) => refusedWith)).toEqual([
    'AADSTS7000215',
    'AADSTS700027',
    undefined,
  ])
})

test('where all are refused, the last refusal is passed on, each is tried once, and a mended one works', async () => {
  given.secretsAre({ old: 'over', new: 'over' })
  const { renew, changes, app } = given.app(secret('old'), secret('new'))
  const error = await thrownBy(renew())
  expect(error).toBeInstanceOf(client.ResponseBodyError)
  expect(error).toMatchObject({ status: 401, cause: { error_codes: [7_000_222] } })
  expect(given.secretsSent()).toEqual(['old', 'new'])
  await expect(renew()).rejects.toThrow(client.ResponseBodyError)
  expect(given.secretsSent()).toHaveLength(4)
  expect(app.status().inUse).toBeUndefined()
  const none = { from: 'old', to: undefined, refusedWith: 'AADSTS7000222' }
  expect(changes).toEqual([none])
  given.secretsAre({ new: 'good' })
  await renew()
  expect(app.status().inUse).toBe('new')
  expect(changes).toEqual([none, { from: undefined, to: 'new', refusedWith: undefined }])
})

test('requests at the same time that meet one refusal change the credential once', async () => {
  given.secretsAre({ old: 'over', new: 'good' })
  const { renew, changes } = given.app(secret('old'), secret('new'))
  given.entra().known.together = 10
  await Promise.all(Array.from({ length: 10 }, renew))
  expect(changes).toEqual([{ from: 'old', to: 'new', refusedWith: 'AADSTS7000222' }])
  expect(given.secretsSent().filter((id) => id === 'old')).toHaveLength(10)
  expect(given.secretsSent().filter((id) => id === 'new')).toHaveLength(10)
})

test('a request that was sent before a refusal and is answered after it changes nothing back', async () => {
  const { app, changes } = given.app(secret('old'), secret('new'))
  let answer = () => undefined as void
  const slow = app.withCredential(() => new Promise<void>((resolve) => void (answer = resolve)))
  given.secretsAre({ old: 'over', new: 'good' })
  const configuration = given.entra().configuration(app)
  await app.withCredential(() => client.refreshTokenGrant(configuration, 'the refresh token'))
  answer()
  await slow
  expect(app.status().inUse).toBe('new')
  expect(changes).toHaveLength(1)
})

test('a request that falls back on the second credential while the first is taken again changes nothing', async () => {
  const { app, changes, clock } = given.app(secret('first'), secret('second'))
  let answer = () => undefined as void
  let asked = () => undefined as void
  const fallenBack = new Promise<void>((resolve) => void (asked = resolve))
  const attempts = [
    () => Promise.reject(new CredentialRefused('AADSTS7000215', 'by a replica that lags behind')),
    () => {
      asked()
      return new Promise<void>((resolve) => void (answer = resolve))
    },
  ]
  const slow = app.withCredential(async () => await attempts.shift()?.())
  await fallenBack
  clock.now += 10 * minute
  await app.withCredential(() => Promise.resolve())
  answer()
  await slow
  expect([app.status().inUse, changes]).toEqual(['first', []])
})

test('what is known is told again after a minute, since others may have told something else', async () => {
  given.secretsAre({ one: 'good' })
  const { renew, learnt, clock } = given.app(secret('one'))
  await renew()
  clock.now += minute - 1
  await renew()
  expect(learnt).toHaveLength(1)
  clock.now += 1
  await renew()
  expect(learnt).toHaveLength(2)
})

test('what is learnt is told with the first answer and with each change, those of others than the one in use too', async () => {
  given.secretsAre({ old: 'good', next: 'over' })
  const { renew, learnt } = given.app(secret('old'), secret('next'))
  await renew()
  await renew()
  given.secretsAre({ next: 'over' })
  for (let times = 0; times < 2; times += 1) await expect(renew()).rejects.toThrow(client.ResponseBodyError)
  given.secretsAre({ next: 'good' })
  await renew()
  expect(
    learnt.map(({ inUse, credentials }) => [inUse, credentials.map((each) => each.refusedWith)]),
  ).toEqual([
    ['old', [undefined, undefined]],
    [undefined, ['AADSTS7000215', 'AADSTS7000222']],
    ['next', ['AADSTS7000215', undefined]],
  ])
})

test('an Entra out of reach is not about the credential', async () => {
  const { app, changes } = given.app(secret('one'), secret('two'))
  const gone = new client.Configuration(
    { issuer: 'http://127.0.0.1:9', token_endpoint: 'http://127.0.0.1:9/token' },
    clientId,
    {},
    app.clientAuth,
  )
  client.allowInsecureRequests(gone)
  const before = app.status()
  await expect(app.withCredential(() => client.refreshTokenGrant(gone, 'refresh'))).rejects.toThrow(Error)
  expect([changes, app.status()]).toEqual([[], before])
})

test('ten minutes after a refusal one request tries the credential that comes first, while others go on', async () => {
  given.secretsAre({ next: 'good' })
  const { renew, changes, clock, app } = given.app(secret('first'), secret('next'))
  await renew()
  clock.now += 9 * minute
  await renew()
  expect(given.secretsSent()).toEqual(['first', 'next', 'next'])
  clock.now += minute
  given.entra().requests.length = 0
  given.entra().known.together = 5
  await Promise.all(Array.from({ length: 5 }, renew))
  expect(given.secretsSent().filter((id) => id === 'first')).toHaveLength(1)
  expect(changes).toHaveLength(1)
  clock.now += 10 * minute
  given.secretsAre({ first: 'good', next: 'good' })
  await renew()
  expect(app.status()).toMatchObject({ inUse: 'first', credentials: [{ refusedWith: undefined }, {}] })
  expect(changes[1]).toEqual({ from: 'next', to: 'first', refusedWith: undefined })
})

test('a secret that is over is not tried again while another is taken', async () => {
  given.secretsAre({ old: 'over', new: 'good' })
  const { renew, clock } = given.app(secret('old'), secret('new'))
  await renew()
  clock.now += day
  await renew()
  expect(given.secretsSent()).toEqual(['old', 'new', 'new'])
})

test('a credential whose end is past is tried last', async () => {
  given.secretsAre({ old: 'good', new: 'good' })
  const end = new Date(Date.now() + minute).toISOString()
  const { renew, clock, changes } = given.app(secret('old', end), secret('new'))
  await renew()
  clock.now += 2 * minute
  await renew()
  expect(changes).toEqual([{ from: 'old', to: 'new', refusedWith: undefined }])
  given.secretsAre({ old: 'good' })
  await renew()
  expect(given.secretsSent()).toEqual(['old', 'new', 'new', 'old'])
})

test('a credential that ends within thirty days is told of once', async () => {
  given.secretsAre({ soon: 'good' })
  const [soon, later] = [20, 40].map((days) => new Date(Date.now() + days * day).toISOString())
  const { renew, clock, endings } = given.app(secret('soon', soon), secret('later', later), secret('unknown'))
  expect(endings).toEqual([{ id: 'soon', expiresAt: soon }])
  await renew()
  expect(endings).toHaveLength(1)
  clock.now += 11 * day
  await renew()
  await renew()
  expect(endings.slice(1)).toEqual([{ id: 'later', expiresAt: later }])
})

test('outside of withCredential openid-client gets the credential in use', async () => {
  given.secretsAre({ old: 'over', new: 'good' })
  const { renew, configuration } = given.app(secret('old'), secret('new'))
  await renew()
  await client.refreshTokenGrant(configuration, 'the refresh token')
  expect(given.secretsSent().at(-1)).toBe('new')
})

test('a request works whenever one credential is good, tries each once at most, and the status says which', async () => {
  const ids = ['a', 'b', 'c']
  const step = fc.record({
    minutes: fc.integer({ min: 0, max: 25 }),
    good: fc.subarray(ids),
    over: fc.subarray(ids),
  })
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 12 }), async (steps) => {
      const { app, clock, changes } = given.app(...ids.map((id) => secret(id)))
      for (const { minutes, good, over } of steps) {
        clock.now += minutes * minute
        const tried: string[] = []
        const before = app.status().inUse
        changes.length = 0
        const used = await app
          .withCredential(async (prove) => {
            const proof = await prove(given.entra().tokenEndpoint)
            const id = 'client_secret' in proof ? proof.client_secret.replace('the secret ', '') : ''
            tried.push(id)
            if (good.includes(id)) return id
            throw new CredentialRefused(`AADSTS${over.includes(id) ? 7_000_222 : 7_000_215}`, 'refused')
          })
          .catch(() => undefined)
        expect(new Set(tried).size).toBe(tried.length)
        expect(used === undefined).toBe(good.length === 0)
        expect(tried.length).toBeGreaterThanOrEqual(good.length === 0 ? ids.length : 1)
        expect(app.status().inUse).toBe(used)
        expect(changes.map(({ from, to }) => [from, to])).toEqual(used === before ? [] : [[before, used]])
      }
    }),
  )
})
