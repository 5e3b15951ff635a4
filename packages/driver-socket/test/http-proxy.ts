import { once } from 'node:events'
import { createServer, type IncomingMessage } from 'node:http'
import { connect, type Socket } from 'node:net'

export interface HttpProxy extends AsyncDisposable {
  readonly url: URL
  /** The addresses that were asked for. */
  readonly asked: readonly string[]
}

/** A proxy of Node's own HTTP server; wants the login if one is given. */
export async function httpProxy(login?: string): Promise<HttpProxy> {
  const asked: string[] = []
  const sockets: Socket[] = []
  const server = createServer()
  server.on('connect', (request: IncomingMessage, socket: Socket) => {
    sockets.push(socket)
    asked.push(request.url ?? '')
    socket.on('error', () => {})
    const expected = login === undefined ? undefined : `Basic ${btoa(login)}`
    if (expected !== undefined && request.headers['proxy-authorization'] !== expected) {
      socket.end('HTTP/1.1 407 Proxy Authentication Required\r\n\r\n')
      return
    }
    const { port } = new URL(`tcp://${request.url}`)
    const far = connect(Number(port), '127.0.0.1', () => {
      socket.write('HTTP/1.1 200 Connection established\r\nX-Proxy: yes\r\n\r\n')
      socket.pipe(far).pipe(socket)
    })
    far.on('error', () => socket.end('HTTP/1.1 502 Bad Gateway\r\n\r\n'))
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const address = server.address()
  const port = typeof address === 'object' ? address?.port : 0
  return {
    url: new URL(`http://127.0.0.1:${port}`),
    asked,
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.destroy()
      server.close()
    },
  }
}
