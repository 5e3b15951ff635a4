import { once } from 'node:events'
import { createServer, connect as rawConnect, type Socket } from 'node:net'
import { Transform } from 'node:stream'

/** Passes bytes on until it cuts them all. */
export interface Relay extends AsyncDisposable {
  readonly port: number
  readonly bytes: () => number
  cut(): void
}

/** @param rewrite changes what comes from the dialler */
export async function relayTo(
  port: number,
  rewrite: (chunk: Buffer) => Buffer = (chunk) => chunk,
): Promise<Relay> {
  const sockets = new Set<Socket>()
  let bytes = 0
  const server = createServer((near) => {
    const far = rawConnect(port, '127.0.0.1')
    const changed = new Transform({
      transform: (chunk: Buffer, _encoding, done) => done(null, rewrite(chunk)),
    })
    for (const socket of [near, far]) {
      sockets.add(socket)
      socket.on('error', () => {})
      socket.on('close', () => {
        sockets.delete(socket)
        near.destroy()
        far.destroy()
      })
      socket.on('data', (chunk: Uint8Array) => {
        bytes += chunk.length
      })
    }
    near.pipe(changed).pipe(far)
    far.pipe(near)
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  const address = server.address()
  const cut = (): void => {
    for (const socket of sockets) socket.resetAndDestroy()
  }
  return {
    port: typeof address === 'object' && address !== null ? address.port : 0,
    bytes: () => bytes,
    cut,
    async [Symbol.asyncDispose]() {
      cut()
      server.close()
    },
  }
}
