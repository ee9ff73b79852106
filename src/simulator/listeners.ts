import { createLoopbackTls } from './certificates.ts'
import { listen, type Handler, type Listener, type Origin } from './http.ts'

/** Where to listen; 0 or nothing takes any free port. */
export type Ports = { entra?: number; graph?: number; entraHttps?: number; graphHttps?: number }

export type Listeners = {
  entraUrl: string
  graphUrl: string
  https: { entraUrl: string; graphUrl: string; caCertificate: string } | undefined
  close(): Promise<void>
}

/** Opens two http origins and, unless told otherwise, two https ones under a new certificate authority. */
export async function openListeners(
  handlers: Readonly<Record<Origin, Handler>>,
  host: string,
  ports: Ports,
  https: boolean,
): Promise<Listeners> {
  const open = (origin: Origin, port = 0, tls?: { key: string; cert: string }): Promise<Listener> =>
    listen({ origin, host, port, handler: handlers[origin], ...(tls ? { tls } : {}) })
  const [entra, graph] = await bothOrNone(open('entra', ports.entra), open('graph', ports.graph))
  // An address that means "every interface" is no address to connect to.
  const name = host === '0.0.0.0' || host === '::' ? '127.0.0.1' : host
  const plain = { entraUrl: `http://${name}:${entra.port}`, graphUrl: `http://${name}:${graph.port}` }
  const closePlain = async (): Promise<void> => void (await Promise.all([entra.close(), graph.close()]))
  if (!https) return { ...plain, https: undefined, close: closePlain }

  const tls = createLoopbackTls(name)
  const secure = bothOrNone(open('entra', ports.entraHttps, tls), open('graph', ports.graphHttps, tls))
  const [secureEntra, secureGraph] = await secure.catch(async (error: unknown) => {
    await closePlain()
    throw error
  })
  return {
    ...plain,
    https: {
      entraUrl: `https://localhost:${secureEntra.port}`,
      graphUrl: `https://localhost:${secureGraph.port}`,
      caCertificate: tls.caCertificate,
    },
    async close() {
      await Promise.all([closePlain(), secureEntra.close(), secureGraph.close()])
    },
  }
}

/** A port already taken must not leave the other listener behind, keeping the process alive. */
async function bothOrNone(
  first: Promise<Listener>,
  second: Promise<Listener>,
): Promise<[Listener, Listener]> {
  try {
    return await Promise.all([first, second])
  } catch (error) {
    for (const opened of await Promise.allSettled([first, second]))
      if (opened.status === 'fulfilled') await opened.value.close()
    throw error
  }
}
