import { once } from 'node:events'
import { connect, createServer, type Socket } from 'node:net'

/** A TCP peer that speaks in bytes. */
export interface RawSocket extends AsyncDisposable {
  readonly socket: Socket
  /** Resolves once `enough` says yes to all bytes that came so far, with these; rejects if the peer closes before. */
  until(enough: (received: Buffer) => boolean): Promise<Buffer>
  readonly closed: Promise<void>
}

export function rawSocket(socket: Socket): RawSocket {
  let received: Buffer = Buffer.alloc(0)
  let waiting: { enough: (received: Buffer) => boolean; done: () => void }[] = []
  const closed = Promise.withResolvers<void>()
  socket.on('error', () => {})
  socket.on('close', () => closed.resolve())
  socket.on('data', (chunk: Buffer) => {
    received = Buffer.concat([received, chunk])
    for (const one of waiting) if (one.enough(received)) one.done()
    waiting = waiting.filter(({ enough }) => !enough(received))
  })
  return {
    socket,
    closed: closed.promise,
    async until(enough) {
      if (!enough(received)) {
        const seen = new Promise<void>((resolve) => waiting.push({ enough, done: resolve }))
        const cut = closed.promise.then(() => {
          throw new Error(`closed after ${received.toString('latin1')}`)
        })
        cut.catch(() => {})
        await Promise.race([seen, cut])
      }
      return received
    },
    async [Symbol.asyncDispose]() {
      socket.destroy()
      await closed.promise
    },
  }
}

export async function dialRaw(port: number): Promise<RawSocket> {
  const socket = connect(port, '127.0.0.1')
  const raw = rawSocket(socket)
  await once(socket, 'connect')
  return raw
}

/** Listens on a port of its own for one peer. */
export async function listenRaw(): Promise<
  AsyncDisposable & { readonly port: number; readonly peer: Promise<RawSocket> }
> {
  const { promise, resolve } = Promise.withResolvers<RawSocket>()
  const sockets: RawSocket[] = []
  const server = createServer((socket) => {
    const raw = rawSocket(socket)
    sockets.push(raw)
    resolve(raw)
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  const address = server.address()
  return {
    port: typeof address === 'object' && address !== null ? address.port : 0,
    peer: promise,
    async [Symbol.asyncDispose]() {
      server.close()
      for (const raw of sockets) await raw[Symbol.asyncDispose]()
    },
  }
}
