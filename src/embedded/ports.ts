import { createServer } from 'node:net'
import { SyncError } from '../errors.ts'

/** A port of loopback that nobody listens on: the wished one if it is free, else any. */
export async function freePort(wished = 0): Promise<number> {
  const server = createServer()
  const listening = await new Promise<boolean>((resolve) => {
    server.once('error', () => resolve(false))
    server.listen(wished, '127.0.0.1', () => resolve(true))
  })
  if (!listening) {
    if (wished === 0) throw new SyncError('internal', 'no free port on 127.0.0.1')
    return await freePort()
  }
  const address = server.address()
  await new Promise((resolve) => server.close(resolve))
  if (address === null || typeof address === 'string')
    throw new SyncError('internal', 'a listener without a port')
  return address.port
}
