import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { connect, type Socket } from 'node:net'

/** A process that listens and then does nothing at all any more, its backlog one connection long. */
const LISTENER = `
  const server = require('node:net').createServer()
  server.listen({ port: Number(process.argv[1]), host: '127.0.0.1', backlog: 1 }, () => console.log('listens'))
`
/** The system takes a few connections more than the backlog says. */
const FILLING = 8

/** A port where connections get no answer, as behind a firewall that drops them: its backlog is full for good. */
export async function silentPort(port: number): Promise<AsyncDisposable> {
  const listener = spawn(process.execPath, ['-e', LISTENER, String(port)], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  await once(listener.stdout, 'data')
  listener.kill('SIGSTOP')
  const sockets = Array.from({ length: FILLING }, (): Socket => {
    const socket = connect(port, '127.0.0.1')
    socket.on('error', () => {})
    return socket
  })
  await once(sockets[0] as Socket, 'connect')
  return {
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.destroy()
      listener.kill('SIGKILL')
      await once(listener, 'exit')
    },
  }
}
