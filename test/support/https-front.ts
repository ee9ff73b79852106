import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import { createServer } from 'node:tls'
import { createLoopbackTls } from '../../src/simulator/certificates.ts'

/** What stands before a gateway in production: https that ends here, and goes on to a port of this machine. */
export type HttpsFront = { url: string; caCertificate: string; close: () => Promise<void> }

export async function startHttpsFront(port: number): Promise<HttpsFront> {
  const { key, cert, caCertificate } = createLoopbackTls('127.0.0.1', 'Authority of the front')
  const open = new Set<Socket>()
  const server = createServer({ key, cert }, (outside) => {
    const inside = connect(port, '127.0.0.1')
    for (const [one, other] of [
      [outside, inside],
      [inside, outside],
    ] as const) {
      open.add(one)
      one.pipe(other)
      one.on('error', () => other.destroy())
      one.on('close', () => {
        open.delete(one)
        other.destroy()
      })
    }
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const address = server.address()
  const bound = typeof address === 'object' && address !== null ? address.port : 0
  return {
    url: `https://localhost:${bound}`,
    caCertificate,
    close: async () => {
      const closed = once(server, 'close')
      server.close()
      for (const socket of open) socket.destroy()
      await closed
    },
  }
}
