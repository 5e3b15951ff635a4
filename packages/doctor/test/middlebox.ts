import { once } from 'node:events'
import { connect, createServer, type Socket } from 'node:net'

export interface MiddleboxFaults {
  /** What is longer is swallowed, and all after it: it is sent again and again, and never gets through. */
  readonly maxPacketBytes?: number
  /** How long a connection may be silent. */
  readonly idleMs?: number
  /** What happens to it then. */
  readonly onSilence?: 'cut' | 'forgotten'
}

/** A device between a participant and its server, with a fault. */
export async function middlebox(
  port: number,
  serverPort: number,
  faults: MiddleboxFaults,
): Promise<AsyncDisposable> {
  const sockets = new Set<Socket>()
  const server = createServer((near) => {
    const far = connect(serverPort, '127.0.0.1')
    const ways: readonly [Socket, Socket][] = [
      [near, far],
      [far, near],
    ]
    let isForgotten = false
    const fail = () => {
      if (faults.onSilence === 'cut') for (const socket of [near, far]) socket.destroy()
      else isForgotten = true
    }
    const timer = faults.idleMs === undefined ? undefined : setTimeout(fail, faults.idleMs)
    for (const [from, to] of ways) {
      sockets.add(from)
      let isStuck = false
      from.on('error', () => {})
      from.on('close', () => {
        sockets.delete(from)
        clearTimeout(timer)
        to.destroy()
      })
      from.on('data', (bytes) => {
        isStuck ||= bytes.length > (faults.maxPacketBytes ?? Number.POSITIVE_INFINITY)
        if (isStuck || isForgotten) return
        timer?.refresh()
        to.write(bytes)
      })
    }
  }).listen(port, '127.0.0.1')
  await once(server, 'listening')
  return {
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.destroy()
      server.close()
      await once(server, 'close')
    },
  }
}
