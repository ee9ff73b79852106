import { createHash, generateKeyPairSync, X509Certificate } from 'node:crypto'
import { Hono } from 'hono'
import { decodeProtectedHeader, jwtVerify, SignJWT } from 'jose'
import * as client from 'openid-client'
import { listen } from '../../src/gateway.ts'
import type { AppCredentials } from '../../src/login/credentials.ts'
import { certificateFor } from '../../src/simulator/certificates.ts'
import type { Credential } from '../../src/source-config.ts'

export const clientId = '22222222-2222-4222-8222-222222222222'

/** RSA, as certificates of app registrations are; `pkcs1` is what OpenSSL wrote once. */
export function newCertificate(id: string, type: 'pkcs1' | 'pkcs8' = 'pkcs8') {
  const { privateKey, publicKey } = generateKeyPairSync('rsa', { modulusLength: 2048 })
  return {
    kind: 'certificate',
    id,
    certificate: certificateFor(id, publicKey).toString(),
    privateKey: privateKey.export({ type, format: 'pem' }).toString(),
  } as const satisfies Credential
}

type Refusal = {
  status: 400 | 401 | 429 | 500
  error: string
  code: number
  headers?: Record<string, string>
}

const over: Refusal = { status: 401, error: 'invalid_client', code: 7_000_222 }
const wrong: Refusal = { status: 401, error: 'invalid_client', code: 7_000_215 }
const unknownKey: Refusal = { status: 401, error: 'invalid_client', code: 700_027 }
/** 400, as logs of the real one show it. */
const unknownSubject: Refusal = { status: 400, error: 'invalid_request', code: 70_021 }

export type ClientEntra = Awaited<ReturnType<typeof startClientEntra>>

/**
 * A token endpoint that looks at the client's credential first, as Entra does, and verifies assertions for what they are.
 * Whoever is taken gets a token; a code is good once.
 */
export async function startClientEntra() {
  const workload = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  const codes = new Set<string>()
  const known = {
    secrets: new Map<string, 'good' | 'over'>(),
    certificates: [] as X509Certificate[],
    /** What a client that is taken gets in place of a token. */
    refusal: undefined as Refusal | undefined,
    /** Answers wait until so many have come. */
    together: 0,
  }
  const requests: Record<string, string>[] = []
  let waiting: (() => void)[] = []
  let tokenEndpoint = ''

  const thumbprint = (certificate: X509Certificate) =>
    createHash('sha256').update(certificate.raw).digest('base64url')

  const assertionRefusal = async (assertion: string): Promise<Refusal | undefined> => {
    const header = decodeProtectedHeader(assertion)
    const expected = { audience: tokenEndpoint, issuer: clientId, subject: clientId, maxTokenAge: '10m' }
    try {
      if (header['x5t#S256'] === undefined) {
        await jwtVerify(assertion, workload.publicKey, { subject: 'pod', issuer: 'cluster' })
        return undefined
      }
      const certificate = known.certificates.find((each) => thumbprint(each) === header['x5t#S256'])
      if (!certificate) return unknownKey
      await jwtVerify(assertion, certificate.publicKey, { ...expected, algorithms: ['PS256'] })
      return undefined
    } catch {
      return header['x5t#S256'] === undefined ? unknownSubject : unknownKey
    }
  }
  const clientRefusal = async (form: Record<string, string>): Promise<Refusal | undefined> => {
    if (form['client_assertion'] !== undefined) return await assertionRefusal(form['client_assertion'])
    const state = known.secrets.get(form['client_secret'] ?? '')
    if (state === 'good') return undefined
    return state === 'over' ? over : wrong
  }
  const codeRefusal = ({ grant_type: grant, code = '' }: Record<string, string>): Refusal | undefined => {
    if (grant !== 'authorization_code' || !codes.has(code)) {
      codes.add(code)
      return undefined
    }
    return { status: 400, error: 'invalid_grant', code: 54_005 }
  }

  const app = new Hono()
  app.post('/tenant/oauth2/v2.0/token', async (c) => {
    const form = Object.fromEntries(new URLSearchParams(await c.req.text()))
    requests.push(form)
    if (known.together > 0) {
      const arrived = new Promise<void>((resolve) => waiting.push(resolve))
      if (waiting.length >= known.together) {
        known.together = 0
        for (const go of waiting) go()
        waiting = []
      }
      await arrived
    }
    const refused = (await clientRefusal(form)) ?? known.refusal ?? codeRefusal(form)
    if (!refused) return c.json({ token_type: 'Bearer', expires_in: 3599, access_token: 'a-token' })
    const { status, error, code, headers = {} } = refused
    return c.json({ error, error_codes: [code], error_description: `AADSTS${code}: no.` }, status, headers)
  })
  const server = await listen(app, { port: 0, host: '127.0.0.1' })
  tokenEndpoint = `${server.url}/tenant/oauth2/v2.0/token`

  return {
    tokenEndpoint,
    known,
    /** The forms posted, oldest first. */
    requests,
    /** What a workload's platform writes into its file. */
    federatedToken: async (subject = 'pod') =>
      await new SignJWT({ jti: crypto.randomUUID() })
        .setProtectedHeader({ alg: 'ES256' })
        .setIssuer('cluster')
        .setSubject(subject)
        .setExpirationTime('1h')
        .sign(workload.privateKey),
    configuration: ({ clientAuth }: Pick<AppCredentials, 'clientAuth'>) => {
      const issuer = `${server.url}/tenant/v2.0`
      const metadata = { issuer, token_endpoint: tokenEndpoint }
      const configuration = new client.Configuration(metadata, clientId, {}, clientAuth)
      client.allowInsecureRequests(configuration)
      return configuration
    },
    reset: () => {
      Object.assign(known, { secrets: new Map(), certificates: [], refusal: undefined, together: 0 })
      codes.clear()
      requests.length = 0
    },
    close: server.close,
  }
}
