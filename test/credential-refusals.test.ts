import * as client from 'openid-client'
import { expect, test } from 'vitest'
import { CredentialRefused } from '../src/login/entra-error.ts'
import { renewTokens } from '../src/login/renew.ts'
import { givenCredentials, secret } from './support/app-credentials.ts'

const given = givenCredentials()

const challenge = { 'WWW-Authenticate': 'Basic realm="tenant"' }

test('a challenge without a word more is a refusal of the credential, in a renewal as well', async () => {
  const { renew, app, configuration } = given.app(secret('one'))
  configuration[client.customFetch] = () =>
    Promise.resolve(new Response(null, { status: 401, headers: challenge }))
  const renewal = async () => await app.withCredential(() => renewTokens(configuration, 'the refresh token'))
  for (const ask of [renew, renewal])
    await expect(ask()).rejects.toMatchObject({ code: 'config_invalid', reason: 'invalid_client' })
  expect(app.status()).toMatchObject({ inUse: undefined, credentials: [{ refusedWith: 'invalid_client' }] })
})

test('a challenge with a number is about what the number says', async () => {
  given.secretsAre({ one: 'good' })
  const { renew, changes } = given.app(secret('one'))
  given.entra().known.refusal = { status: 401, error: 'invalid_client', code: 7_000_229, headers: challenge }
  await expect(renew()).rejects.toMatchObject({ code: 'config_invalid', name: 'SyncError' })
  expect(changes).toEqual([])
  given.entra().known.refusal = { status: 401, error: 'invalid_client', code: 700_026, headers: challenge }
  await expect(renew()).rejects.toMatchObject({ reason: 'AADSTS700026' })
  expect(changes).toEqual([{ from: 'one', to: undefined, refusedWith: 'AADSTS700026' }])
})

test.for([
  ['a spent grant', { status: 400, error: 'invalid_grant', code: 700_082 }],
  ['a spent grant whose code nobody knows', { status: 400, error: 'invalid_grant', code: 1 }],
  ['a disabled app', { status: 400, error: 'unauthorized_client', code: 7_000_112 }],
  ['an app unknown to the tenant', { status: 400, error: 'invalid_client', code: 700_016 }],
  ['an app without a service principal there', { status: 401, error: 'invalid_client', code: 7_000_229 }],
  ['a pause', { status: 429, error: 'invalid_client', code: 7_000_215 }],
  ['an Entra that is unwell', { status: 500, error: 'server_error', code: 90_033 }],
] as const)('%s is not about the credential and is passed on at once', async ([, refusal]) => {
  given.secretsAre({ one: 'good', two: 'good' })
  given.entra().known.refusal = refusal
  const { renew, changes, app } = given.app(secret('one'), secret('two'))
  const before = app.status()
  await expect(renew()).rejects.toThrow(Error)
  expect([given.secretsSent(), changes, app.status()]).toEqual([['one'], [], before])
})

test('a refusal that may be the tenant’s own counts against a credential only where another one is taken', async () => {
  given.secretsAre({ one: 'good', two: 'good' })
  given.entra().known.refusal = { status: 401, error: 'invalid_client', code: 9_999_999 }
  const { renew, changes, learnt, app } = given.app(secret('one'), secret('two'))
  const before = app.status()
  await expect(renew()).rejects.toThrow(client.ResponseBodyError)
  expect([given.secretsSent(), changes, app.status()]).toEqual([['one', 'two'], [], before])
  given.entra().known.refusal = undefined
  const answers = [new CredentialRefused('AADSTS1', 'a number nobody knows', { isSure: false })]
  await app.withCredential(async () => {
    const refused = answers.pop()
    if (refused) throw refused
  })
  expect(changes).toEqual([{ from: 'one', to: 'two', refusedWith: 'AADSTS1' }])
  expect(learnt.at(-1)).toMatchObject({ inUse: 'two', credentials: [{ refusedWith: 'AADSTS1' }, {}] })
})

test('a credential that is doubted while another one is refused does not count as none that is taken', async () => {
  const { app, changes } = given.app(secret('old'), secret('next'))
  const refusals = [
    new CredentialRefused('AADSTS7000215', 'over'),
    new CredentialRefused('AADSTS9999999', 'of one tenant, perhaps', { isSure: false }),
  ]
  const asked = app.withCredential(() => Promise.reject(refusals.shift() ?? new Error('asked a third time')))
  await expect(asked).rejects.toMatchObject({ reason: 'AADSTS9999999' })
  expect(changes).toEqual([])
  expect(app.status().credentials.map(({ refusedWith }) => refusedWith)).toEqual(['AADSTS7000215', undefined])
})
