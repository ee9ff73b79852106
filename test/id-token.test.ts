import { randomUUID } from 'node:crypto'
import { GeneralSign, SignJWT, UnsecuredJWT } from 'jose'
import fc from 'fast-check'
import { beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { TokenRejected } from '../src/errors.ts'
import { verifyIdToken, type IdTokenRules } from '../src/login/id-token.ts'
import { createKeySet, type KeySet } from '../src/login/key-set.ts'
import {
  clientId,
  consumersTid,
  good,
  honest,
  host,
  issuerOf,
  listToken,
  ofConsumers,
  ofOtherTenant,
  oid,
  otherTid,
  rules,
  seconds,
  signing,
  stranger,
  template,
  tid,
  tokenOf,
  type Claims,
} from './support/id-tokens.ts'
import { startKeyServer, type KeyServer } from './support/key-server.ts'

let server: KeyServer
let keys: KeySet

beforeAll(async () => {
  server = await startKeyServer()
  return server.close
})

/** A key set of its own, so that one test's unknown keys don't use up another's read. */
beforeEach(() => {
  server.publish(
    { ...good.jwk, issuer: template },
    { ...ofOtherTenant.jwk, issuer: issuerOf(otherTid) },
    { ...ofConsumers.jwk, issuer: issuerOf(consumersTid) },
    { ...signing.RS512.jwk, issuer: template },
    { ...signing.PS256.jwk, issuer: template },
  )
  keys = createKeySet(server.url)
})

const verify = async (token: string, changed: Partial<IdTokenRules> = {}) =>
  await verifyIdToken(token, { ...rules, ...changed }, keys)

/** The reason that is told, and nothing of the token in what a log might show. */
async function reasonOf(token: string, changed: Partial<IdTokenRules> = {}): Promise<string> {
  const error: unknown = await verify(token, changed).then(
    () => 'accepted',
    (thrown: unknown) => thrown,
  )
  if (!(error instanceof TokenRejected))
    return error === 'accepted' ? 'accepted' : `no refusal: ${String(error)}`
  const told = `${error.message} ${error.reason} ${String(error.stack)} ${JSON.stringify(error)}`
  for (const part of [...token.split('.'), oid].filter((each) => each.length > 8))
    expect(told).not.toContain(part)
  return error.reason
}

const encode = (value: object) => Buffer.from(JSON.stringify(value)).toString('base64url')

/** Another payload under the signature of the true one. */
async function withPayload(change: Claims): Promise<string> {
  const [header = '', payload = '', signature = ''] = (await tokenOf()).split('.')
  const claims: unknown = JSON.parse(Buffer.from(payload, 'base64url').toString())
  return `${header}.${encode({ ...Object(claims), ...change })}.${signature}`
}

describe('a good token', () => {
  test('says who it is for, with the labels that it has', async () => {
    const claims = await verify(await tokenOf({ sid: 'session', login_hint: 'hint', email: 'a@b.example' }))
    expect(claims).toMatchObject({
      tid,
      oid,
      name: 'Adele Vance',
      preferred_username: 'adele@contoso.example',
      email: 'a@b.example',
      sid: 'session',
      login_hint: 'hint',
    })
  })

  test('needs no label, and one of another type or of any length keeps nobody out', async () => {
    const bare = await verify(await tokenOf({ name: undefined, preferred_username: undefined }))
    expect([bare.name, bare.preferred_username]).toEqual([undefined, undefined])
    const odd = await verify(await tokenOf({ name: 'x'.repeat(2000), email: 7, sid: ['a'] }))
    expect([odd.name?.length, odd.email, odd.sid]).toEqual([256, undefined, undefined])
  })

  test.each<[string, () => Claims]>([
    ['59 seconds after its end', () => ({ exp: seconds() - 58 })],
    ['59 seconds before its beginning', () => ({ nbf: seconds() + 58, iat: seconds() + 58 })],
  ])('passes %s: clocks differ', async (_when, claims) => {
    expect(await reasonOf(await tokenOf(claims()))).toBe('accepted')
  })

  test('of any tenant that the source takes passes with the template as the issuer', async () => {
    const another = randomUUID()
    const token = await tokenOf({ tid: another, iss: issuerOf(another) })
    expect(await reasonOf(token, { takesTenant: () => true })).toBe('accepted')
    expect(await reasonOf(await tokenOf({ tid: tid.toUpperCase() }))).toBe('accepted')
  })

  test('passes with an issuer of one tenant, and with a key of that tenant alone or of none in particular', async () => {
    const single = { issuer: issuerOf(tid) }
    server.publish(good.jwk)
    expect(await reasonOf(await tokenOf(), single)).toBe('accepted')
    keys = createKeySet(server.url)
    server.publish({ ...good.jwk, issuer: issuerOf(tid) })
    expect(await reasonOf(await tokenOf(), single)).toBe('accepted')
    expect(await reasonOf(await tokenOf())).toBe('accepted')
  })

  test('of the personal accounts’ tenant passes with their key where the source takes it', async () => {
    const token = await tokenOf({ tid: consumersTid, iss: issuerOf(consumersTid) }, { key: ofConsumers })
    expect(await reasonOf(token, { takesTenant: () => true })).toBe('accepted')
  })
})

describe('refuses a token', () => {
  const cases: [what: string, reason: string, make: () => Promise<string> | string][] = [
    ['with alg none', 'algorithm', () => new UnsecuredJWT(honest()).encode()],
    [
      'with alg none and the signature of the true one',
      'algorithm',
      async () => {
        const [, payload = '', signature = ''] = (await tokenOf()).split('.')
        return `${encode({ alg: 'none', kid: good.kid })}.${payload}.${signature}`
      },
    ],
    [
      'with alg NONE',
      'algorithm',
      async () => `${encode({ alg: 'NONE' })}.${(await tokenOf()).split('.')[1]}.`,
    ],
    [
      'with HS256 and the public key as its secret',
      'algorithm',
      async () =>
        await new SignJWT(honest())
          .setProtectedHeader({ alg: 'HS256', kid: good.kid })
          .sign(new TextEncoder().encode(good.pem)),
    ],
    ['with RS512', 'algorithm', () => tokenOf({}, { key: signing.RS512, header: { alg: 'RS512' } })],
    ['with PS256', 'algorithm', () => tokenOf({}, { key: signing.PS256, header: { alg: 'PS256' } })],
    ['for another application', 'aud', () => tokenOf({ aud: randomUUID() })],
    ['for several applications', 'aud', () => tokenOf({ aud: [clientId, randomUUID()] })],
    ['for this one in a list', 'aud', () => tokenOf({ aud: [clientId] })],
    ['for nobody', 'aud', () => tokenOf({ aud: undefined })],
    ['from another tenant’s issuer', 'iss', () => tokenOf({ iss: issuerOf(otherTid) })],
    ['from the issuer of version 1', 'iss', () => tokenOf({ iss: `https://sts.windows.net/${tid}/` })],
    ['from the template itself', 'iss', () => tokenOf({ iss: template })],
    ['from another host', 'iss', () => tokenOf({ iss: issuerOf(tid).replace(host, 'https://evil.example') })],
    ['from an issuer with a slash too many', 'iss', () => tokenOf({ iss: `${issuerOf(tid)}/` })],
    ['from nobody', 'iss', () => tokenOf({ iss: undefined })],
    ['of a tenant that is not taken', 'tenant', () => tokenOf({ tid: otherTid, iss: issuerOf(otherTid) })],
    ['of a tenant that is a domain', 'tid', () => tokenOf({ tid: 'contoso.example' })],
    ['of a tenant that climbs', 'tid', () => tokenOf({ tid: `${tid}/../${tid}` })],
    ['of no tenant', 'tid', () => tokenOf({ tid: undefined })],
    ['with the nonce of another sign-in', 'nonce', () => tokenOf({ nonce: 'another' })],
    ['with an empty nonce', 'nonce', () => tokenOf({ nonce: '' })],
    ['without a nonce', 'nonce', () => tokenOf({ nonce: undefined })],
    ['that ended 62 seconds ago', 'expired', () => tokenOf({ exp: seconds() - 62 })],
    ['that begins in 62 seconds', 'not_yet', () => tokenOf({ nbf: seconds() + 62 })],
    ['without an end', 'exp', () => tokenOf({ exp: undefined })],
    ['with an end that is text', 'exp', () => tokenOf({ exp: String(seconds() + 3600) })],
    ['without a beginning', 'nbf', () => tokenOf({ nbf: undefined })],
    ['without the time of issue', 'iat', () => tokenOf({ iat: undefined })],
    ['without a subject', 'sub', () => tokenOf({ sub: undefined })],
    ['of version 1', 'ver', () => tokenOf({ ver: '1.0' })],
    ['without a version', 'ver', () => tokenOf({ ver: undefined })],
    ['without an object id', 'oid', () => tokenOf({ oid: undefined })],
    ['whose object id is none', 'oid', () => tokenOf({ oid: 'adele' })],
    ['signed by a key nobody published', 'unknown_key', () => tokenOf({}, { key: stranger })],
    [
      'signed by a stranger in the name of a published key',
      'signature',
      () => tokenOf({}, { key: stranger, header: { kid: good.kid } }),
    ],
    [
      'that brings its own key',
      'unknown_key',
      () => tokenOf({}, { key: stranger, header: { jwk: stranger.jwk } }),
    ],
    [
      'that brings its own key under the name of a published one',
      'signature',
      () => tokenOf({}, { key: stranger, header: { kid: good.kid, jwk: stranger.jwk } }),
    ],
    [
      'that says where its key is',
      'unknown_key',
      () =>
        tokenOf(
          {},
          { key: stranger, header: { x5u: 'https://evil.example/x', jku: 'https://evil.example/k' } },
        ),
    ],
    ['that names no key', 'ambiguous_key', () => tokenOf({}, { header: { kid: undefined } })],
    ['signed by the key of another tenant', 'key_issuer', () => tokenOf({}, { key: ofOtherTenant })],
    ['signed by the key of personal accounts', 'key_issuer', () => tokenOf({}, { key: ofConsumers })],
    ['with other claims than were signed', 'signature', () => withPayload({ oid: randomUUID() })],
    ['with a signature that is cut', 'signature', async () => (await tokenOf()).slice(0, -8)],
    ['with an empty signature', 'signature', async () => (await tokenOf()).replace(/\.[^.]*$/, '.')],
    [
      'with a header that must be understood',
      'malformed',
      async () => {
        const header = encode({ alg: 'RS256', kid: good.kid, crit: ['exp'], exp: 1 })
        return `${header}.${(await tokenOf()).split('.').slice(1).join('.')}`
      },
    ],
    [
      'in JSON with two signatures',
      'malformed',
      async () => {
        const sign = new GeneralSign(new TextEncoder().encode(JSON.stringify(honest())))
        for (const key of [good, stranger])
          sign.addSignature(key.privateKey).setProtectedHeader({ alg: 'RS256', kid: key.kid })
        return JSON.stringify(await sign.sign())
      },
    ],
    ['with two parts', 'malformed', async () => (await tokenOf()).split('.').slice(0, 2).join('.')],
    ['with five parts', 'malformed', async () => `${await tokenOf()}.AAAA.AAAA`],
    ['with padding', 'malformed', async () => `${await tokenOf()}==`],
    [
      'with a line break in its signature',
      'malformed',
      async () => (await tokenOf()).replace(/.{9}$/, '\n$&'),
    ],
    ['that is empty', 'malformed', () => ''],
    ['that is no token', 'malformed', () => 'not a token at all'],
    ['with a payload that is a list', 'malformed', listToken],
    ['of 40,000 characters', 'too_long', () => tokenOf({ filler: 'x'.repeat(30_000) })],
  ]

  test.each(cases)('%s (%s)', async (_what, reason, make) => {
    expect(await reasonOf(await make())).toBe(`id_token_${reason}`)
  })

  test('that names no key, where only one is published', async () => {
    server.publish({ ...good.jwk, issuer: issuerOf(otherTid) })
    const token = await tokenOf({}, { header: { kid: undefined } })
    expect(await reasonOf(token)).toBe('id_token_unknown_key')
  })

  test('whose key was withdrawn while it was looked at', async () => {
    const withdrawn: KeySet = { find: keys.find, issuerOf: () => keys.issuerOf('another') }
    await expect(verifyIdToken(await tokenOf(), rules, withdrawn)).rejects.toMatchObject({
      reason: 'id_token_key_issuer',
    })
  })

  test('of a key of another tenant, also where the source takes both tenants', async () => {
    const both = { takesTenant: () => true }
    expect(await reasonOf(await tokenOf({}, { key: ofOtherTenant }), both)).toBe('id_token_key_issuer')
    const theirs = await tokenOf({ tid: otherTid, iss: issuerOf(otherTid) }, { key: ofOtherTenant })
    expect(await reasonOf(theirs, both)).toBe('accepted')
  })

  test('in which any one character is another', async () => {
    const token = await tokenOf()
    const alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.=+/ \n'
    const signatureOf = (text: string) => Buffer.from(text.split('.')[2] ?? '', 'base64url')
    await fc.assert(
      fc.asyncProperty(
        fc.nat({ max: token.length - 1 }),
        fc.constantFrom(...alphabet.split('')),
        async (at, letter) => {
          const changed = token.slice(0, at) + letter + token.slice(at + 1)
          // The very last letter has four bits that mean nothing: with them it spells the same signature.
          const isLast = at === token.length - 1
          fc.pre(changed !== token && !(isLast && signatureOf(changed).equals(signatureOf(token))))
          expect(await reasonOf(changed)).toMatch(/^id_token_\w+$/)
        },
      ),
      { numRuns: 400 },
    )
  })
})

test('keys that cannot be read are told from a token that is wrong', async () => {
  server.fail(500)
  const error: unknown = await verify(await tokenOf()).catch((thrown: unknown) => thrown)
  server.fail(undefined)
  expect(error).toBeInstanceOf(Error)
  expect(error).not.toBeInstanceOf(TokenRejected)
})
