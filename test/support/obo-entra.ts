import { once } from 'node:events'
import { createServer } from 'node:https'
import { getCACertificates, setDefaultCACertificates } from 'node:tls'
import { getRequestListener } from '@hono/node-server'
import { Hono } from 'hono'
import { createLoopbackTls } from '../../src/simulator/certificates.ts'

export type OboEntra = Awaited<ReturnType<typeof startOboEntra>>

/**
 * The token endpoint of one tenant over https, which this process is made to trust: `@azure/identity` speaks nothing else. It
 * answers what a test tells it to.
 */
export async function startOboEntra(tenantId: string) {
  const { key, cert, caCertificate } = createLoopbackTls('localhost')
  setDefaultCACertificates([...getCACertificates('default'), caCertificate])
  const forms: Record<string, string>[] = []
  let answer: () => Response = () => new Response(null, { status: 500 })
  let origin = ''
  let tokensAt: string | undefined
  const app = new Hono()
  const base = `/${tenantId}`
  app.get(`${base}/v2.0/.well-known/openid-configuration`, (c) =>
    c.json({
      issuer: `${origin}${base}/v2.0`,
      authorization_endpoint: `${origin}${base}/oauth2/v2.0/authorize`,
      token_endpoint: `${tokensAt ?? origin}${base}/oauth2/v2.0/token`,
      jwks_uri: `${origin}${base}/discovery/v2.0/keys`,
    }),
  )
  app.post(`${base}/oauth2/v2.0/token`, async (c) => {
    forms.push(Object.fromEntries(new URLSearchParams(await c.req.text())))
    return answer()
  })
  const serve = getRequestListener(app.fetch)
  const server = createServer({ key, cert }, (incoming, outgoing) => void serve(incoming, outgoing))
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const address = server.address()
  origin = `https://localhost:${typeof address === 'object' && address ? address.port : 0}`
  return {
    origin,
    /** What was posted to the token endpoint, oldest first. */
    forms,
    /** From now on its metadata names the token endpoint of this origin. */
    tokensAt: (other: string) => void (tokensAt = other),
    next: (make: () => Response) => (answer = make),
    close: async () => {
      server.closeAllConnections()
      server.close()
      await once(server, 'close')
    },
  }
}
