import type { JWTPayload } from 'jose'

/** Who signs a spoiled ID token: see the names of {@link IdTokenFault.signedBy}. */
export type IdTokenSigner = 'tenant' | 'unpublished' | 'consumers' | 'nobody' | 'public-key' | 'tampered'

/** An ID token that is wrong in some way, beside tokens that are right. */
export type IdTokenFault = {
  /** Of the true token; a claim that is undefined is left out. */
  claims?: (claims: JWTPayload) => Record<string, unknown>
  header?: (header: Readonly<Record<string, unknown>>) => Record<string, unknown>
  /**
   * `tenant` (the default): the key that signs everything. `unpublished`: a key that no key set has, under the name of the
   * tenant's unless the header says otherwise. `consumers`: the key of personal accounts, which `common` publishes.
   * `nobody`: `alg` none, and no signature. `public-key`: HS256, with the PEM of the tenant's public key as the secret.
   * `tampered`: the tenant's signature of the true token. Anything else is the `kid` of a key that was published for it.
   */
  signedBy?: IdTokenSigner | (string & {})
  /** Replaces the finished string; undefined leaves `id_token` out of the answer. */
  raw?: (token: string) => string | undefined
}

const change = (changes: Record<string, unknown>) => (claims: JWTPayload) => ({ ...claims, ...changes })
const without = (name: string): IdTokenFault => ({ claims: change({ [name]: undefined }) })
const later = (name: string, seconds: number): IdTokenFault => ({
  claims: (claims) => ({ ...claims, [name]: Number(claims[name]) + seconds }),
})
const elsewhere = (issuer: string | undefined): string =>
  (issuer ?? '').replace(/[0-9a-f-]{36}/, crypto.randomUUID())

/**
 * ID tokens that are wrong in one way, by name: `faults.idToken(idTokenFaults.wrongNonce)`. A client that validates ID
 * tokens refuses each of them.
 */
export const idTokenFaults = {
  algNone: { signedBy: 'nobody' },
  algNoneUpperCase: { signedBy: 'nobody', header: (header) => ({ ...header, alg: 'NONE' }) },
  algNoneWithSignature: { signedBy: 'nobody', raw: (token) => `${token}AAAA` },
  hs256WithPublicKey: { signedBy: 'public-key' },
  unpublishedKey: { signedBy: 'unpublished' },
  unknownKid: { signedBy: 'unpublished', header: (header) => ({ ...header, kid: crypto.randomUUID() }) },
  keyInHeader: { signedBy: 'unpublished', header: (header) => ({ ...header, jku: 'https://evil.example/' }) },
  consumersKey: { signedBy: 'consumers' },
  tamperedClaims: { signedBy: 'tampered', claims: change({ oid: crypto.randomUUID() }) },
  cutSignature: { raw: (token) => token.slice(0, -8) },
  emptySignature: { raw: (token) => token.slice(0, token.lastIndexOf('.') + 1) },
  twoParts: { raw: (token) => token.slice(0, token.lastIndexOf('.')) },
  fiveParts: { raw: (token) => `${token}.AAAA.AAAA` },
  noToken: { raw: () => undefined },
  emptyToken: { raw: () => '' },
  notAToken: { raw: () => 'not a token' },
  wrongAudience: { claims: change({ aud: crypto.randomUUID() }) },
  severalAudiences: { claims: (claims) => ({ ...claims, aud: [claims.aud, crypto.randomUUID()] }) },
  noAudience: without('aud'),
  wrongIssuer: { claims: change({ iss: 'https://evil.example/v2.0' }) },
  issuerOfAnotherTenant: { claims: (claims) => ({ ...claims, iss: elsewhere(claims.iss) }) },
  issuerOfFirstVersion: {
    claims: (claims) => ({ ...claims, iss: `https://sts.windows.net/${String(claims['tid'])}/` }),
  },
  issuerTemplate: {
    claims: (claims) => ({ ...claims, iss: (claims.iss ?? '').replace(String(claims['tid']), '{tenantid}') }),
  },
  issuerWithSlash: { claims: (claims) => ({ ...claims, iss: `${claims.iss}/` }) },
  noIssuer: without('iss'),
  wrongTenant: { claims: change({ tid: crypto.randomUUID() }) },
  tenantThatIsNoId: { claims: change({ tid: '../common' }) },
  noTenant: without('tid'),
  anotherTenant: {
    claims: (claims) => {
      const tid = crypto.randomUUID()
      return { ...claims, tid, iss: (claims.iss ?? '').replace(String(claims['tid']), tid) }
    },
  },
  wrongNonce: { claims: change({ nonce: crypto.randomUUID() }) },
  noNonce: without('nonce'),
  expired: { claims: (claims) => ({ ...claims, exp: Number(claims.iat) - 120 }) },
  noExpiry: without('exp'),
  expiryThatIsText: { claims: (claims) => ({ ...claims, exp: String(claims.exp) }) },
  notYetValid: later('nbf', 600),
  noIssueTime: without('iat'),
  noSubject: without('sub'),
  noObjectId: without('oid'),
  objectIdThatIsNoId: { claims: change({ oid: 'x' }) },
} as const satisfies Record<string, IdTokenFault>

export type IdTokenFaultName = keyof typeof idTokenFaults
