import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { refuse } from '../src/graph/answer.ts'
import { claimsParameter, fitTogether, mergeClaims } from '../src/login/claims.ts'

const wanted = { access_token: { nbf: { essential: true, value: '1604106651' } } }
const claims = JSON.stringify(wanted)
const base64 = Buffer.from(claims).toString('base64')

const refusal = (...challenges: string[]) => {
  const headers = new Headers()
  for (const challenge of challenges) headers.append('WWW-Authenticate', challenge)
  return refuse({
    status: 401,
    headers,
    json: { error: { code: 'InvalidAuthenticationToken', message: '' } },
  })
}
const challenge = (value: string) =>
  `Bearer realm="", authorization_uri="https://login.example/a,b/authorize", client_id="x", error="insufficient_claims", claims="${value}"`

describe("a claims challenge of Graph's 401", () => {
  test.for([
    ['as documented', [challenge(base64)]],
    ['unpadded', [challenge(base64.replaceAll('=', ''))]],
    ['after another challenge in the same header', [`Basic realm="a \\"b\\"", ${challenge(base64)}`]],
    ['in a second header', ['Negotiate', challenge(base64)]],
    ['with fields in another order', [`bearer claims="${base64}",error=insufficient_claims, realm=""`]],
  ] as const)('is read %s', ([, challenges]) => {
    expect(refusal(...challenges)).toMatchObject({ reason: 'insufficient_claims', claims })
  })

  test('is read in both alphabets of base64, whatever it asks for', () => {
    fc.assert(
      fc.property(fc.dictionary(fc.string(), fc.string({ unit: 'binary' })), (asked) => {
        const text = JSON.stringify({ access_token: asked })
        for (const alphabet of ['base64', 'base64url'] as const)
          expect(refusal(challenge(Buffer.from(text).toString(alphabet)))).toMatchObject({ claims: text })
      }),
    )
  })

  test.for([
    ['no header', []],
    ['another error', [`Bearer error="invalid_token", claims="${base64}"`]],
    ['another scheme', [`Basic error="insufficient_claims", claims="${base64}"`]],
    [
      'claims in another challenge than the error',
      [`Bearer error="insufficient_claims", PoP claims="${base64}"`],
    ],
    ['something that is no JSON', [challenge('AAAA')]],
    ['a list', [challenge(Buffer.from('[]').toString('base64'))]],
    ['too much', [challenge(Buffer.from(JSON.stringify({ a: 'x'.repeat(9000) })).toString('base64'))]],
  ] as const)('is not taken from %s', ([, challenges]) => {
    expect(refusal(...challenges)).toMatchObject({ reason: 'InvalidAuthenticationToken', claims: undefined })
  })
})

describe('claims asked of Entra', () => {
  const capability = { xms_cc: { values: ['cp1'] } }

  test('say that we handle challenges, beside what a challenge asked for', () => {
    expect(JSON.parse(claimsParameter())).toEqual({ access_token: capability })
    expect(JSON.parse(claimsParameter(claims))).toEqual({
      access_token: { ...capability, ...wanted.access_token },
    })
  })

  test('are merged for each token, and what is no request for claims is left out', () => {
    const other = '{"access_token":{"acrs":{"value":"c1"}},"id_token":{"acr":null}}'
    expect(JSON.parse(mergeClaims(claims, other) ?? '')).toEqual({
      access_token: { ...wanted.access_token, acrs: { value: 'c1' } },
      id_token: { acr: null },
    })
    for (const odd of ['', 'nonsense', '[]', '{"access_token":1}', `{"a":{"b":"${'x'.repeat(2000)}"}}`, null])
      expect(mergeClaims(odd, claims)).toBe(claims)
    expect(mergeClaims('nonsense')).toBeUndefined()
  })

  test('are those that were asked for last where all together are too long for an address', () => {
    const long = (name: string, length = 600) =>
      JSON.stringify({ access_token: { [name]: { value: 'x'.repeat(length) } } })
    const [a, b] = [long('a'), long('b')]
    expect([fitTogether(a, claims), fitTogether(a, b)]).toEqual([true, false])
    expect(mergeClaims(a, b)).toBe(b)
    expect(mergeClaims(claims, a, b)).toBe(b)
    expect(mergeClaims(a, claims, '{"access_token":{"acrs":null}}')).toContain('nbf')
    expect(JSON.parse(claimsParameter(mergeClaims(a, b)))).toEqual({
      access_token: { ...capability, b: { value: 'x'.repeat(600) } },
    })
    const longest = long('a', 1024 - long('a', 0).length)
    expect(JSON.parse(claimsParameter(mergeClaims(longest)))).toMatchObject({
      access_token: { ...capability, a: {} },
    })
  })
})
