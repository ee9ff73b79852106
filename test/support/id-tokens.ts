import { randomUUID } from 'node:crypto'
import { CompactSign, SignJWT } from 'jose'
import type { IdTokenRules } from '../../src/login/id-token.ts'
import { newTestKey, type TestKey } from './key-server.ts'

export const clientId = randomUUID()
export const nonce = 'the nonce of this sign-in'
export const tid = randomUUID()
export const otherTid = randomUUID()
export const consumersTid = '9188040d-6c67-4c5b-b112-36a304b66dad'
export const oid = randomUUID()
export const host = 'https://login.example'
export const issuerOf = (tenantId: string) => `${host}/${tenantId}/v2.0`
export const template = issuerOf('{tenantid}')

/** The key that signs what is as it should be, and others of which each is wrong in its own way. */
export const good = await newTestKey()
export const ofOtherTenant = await newTestKey()
export const ofConsumers = await newTestKey()
export const stranger = await newTestKey()
export const signing = { RS512: await newTestKey('RS512'), PS256: await newTestKey('PS256') }

export const seconds = () => Math.floor(Date.now() / 1000)

export type Claims = Record<string, unknown>

export const honest = (): Claims => ({
  ver: '2.0',
  iss: issuerOf(tid),
  aud: clientId,
  sub: 'pairwise',
  iat: seconds(),
  nbf: seconds(),
  exp: seconds() + 3600,
  nonce,
  tid,
  oid,
  name: 'Adele Vance',
  preferred_username: 'adele@contoso.example',
})

/** A token that is as it should be but for what is changed; undefined takes a claim or a header away. */
export async function tokenOf(
  claims: Claims = {},
  { key = good, header = {} }: { key?: TestKey; header?: Record<string, unknown> } = {},
): Promise<string> {
  const { kid = key.kid, ...rest } = header
  const named = 'kid' in header && header['kid'] === undefined ? {} : { kid: String(kid) }
  return await new SignJWT({ ...honest(), ...claims })
    .setProtectedHeader({ typ: 'JWT', alg: 'RS256', ...named, ...rest })
    .sign(key.privateKey)
}

export const rules: IdTokenRules = {
  clientId,
  issuer: template,
  takesTenant: (tenantId) => tenantId === tid,
  nonce,
}

/** A payload that is JSON and no object, under a signature that is right. */
export async function listToken(): Promise<string> {
  return await new CompactSign(new TextEncoder().encode('["a"]'))
    .setProtectedHeader({ alg: 'RS256', kid: good.kid })
    .sign(good.privateKey)
}
