import { createHash } from 'node:crypto'
import { Hono } from 'hono'
import { exportJWK, exportSPKI, generateKeyPair, type CryptoKey, type JWK } from 'jose'
import { listen } from '../../src/gateway.ts'

export type TestKey = {
  kid: string
  privateKey: CryptoKey
  /** What a key set lists. */
  jwk: JWK
  /** What somebody might take for the secret of HS256. */
  pem: string
}

/** A new RSA key, as Entra's are; `algorithm` is what the private key signs with. */
export async function newTestKey(algorithm: 'RS256' | 'RS512' | 'PS256' = 'RS256'): Promise<TestKey> {
  const { privateKey, publicKey } = await generateKeyPair(algorithm, { extractable: true })
  const jwk = await exportJWK(publicKey)
  const kid = createHash('sha256').update(JSON.stringify(jwk)).digest('base64url').slice(0, 27)
  return { kid, privateKey, jwk: { ...jwk, kid, use: 'sig' }, pem: await exportSPKI(publicKey) }
}

/** An authority as far as its keys go. */
export type KeyServer = {
  url: URL
  /** What it publishes from now on; with `issuer` where it names one. */
  publish: (...keys: (JWK & { issuer?: string })[]) => void
  /** Answers this instead, until undefined. */
  fail: (status: 500 | 404 | undefined) => void
  /** Holds answers back until the function that it returns is called. */
  hold: () => () => void
  /** How often the keys were asked for. */
  asked: () => number
  close: () => Promise<void>
}

export async function startKeyServer(): Promise<KeyServer> {
  let keys: JWK[] = []
  let failure: 500 | 404 | undefined
  let asked = 0
  let held: Promise<void> | undefined
  const app = new Hono()
  app.get('/keys', async (c) => {
    asked += 1
    await held
    return failure === undefined ? c.json({ keys }) : c.text('no', failure)
  })
  const server = await listen(app, { port: 0, host: '127.0.0.1', graceMs: 100 })
  return {
    url: new URL(`${server.url}/keys`),
    publish: (...published) => void (keys = published),
    fail: (status) => void (failure = status),
    hold: () => {
      const { promise, resolve } = Promise.withResolvers<void>()
      held = promise
      return () => {
        held = undefined
        resolve()
      }
    },
    asked: () => asked,
    close: server.close,
  }
}
