import net from 'node:net'
import { afterEach } from 'vitest'

const loopback = /^(localhost|127(\.\d+){3}|::1|::ffff:127(\.\d+){3})$/
const refused: string[] = []
const connect = Object.getOwnPropertyDescriptor(net.Socket.prototype, 'connect')?.value

/** Any connection of a test to a host other than loopback is refused and fails the test that made it. */
net.Socket.prototype.connect = function (this: net.Socket, ...args: unknown[]) {
  const first: unknown = Array.isArray(args[0]) ? args[0][0] : args[0]
  const host = typeof first === 'object' && first !== null && 'host' in first ? first.host : args[1]
  if (typeof host === 'string' && !loopback.test(host)) {
    refused.push(host)
    queueMicrotask(() => this.destroy(new Error(`a test tried to connect to ${host}`)))
    return this
  }
  return Reflect.apply(connect, this, args)
}

afterEach(() => {
  const hosts = refused.splice(0)
  if (hosts.length > 0) throw new Error(`connections to hosts other than loopback: ${hosts.join(', ')}`)
})
