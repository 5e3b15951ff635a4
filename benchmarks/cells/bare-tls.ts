// The plain limit: two processes, mutual TLS, nothing else. `serve <kit>` and `measure <kit> <port>`; commands as in
// hanse-cells.ts, and `round`: so many MB to each of some connections and back; `hold`: connections that stay.
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { connect, createServer, type TLSSocket } from 'node:tls'
import type { Identity } from '@hanse/pki'
import { loadKit } from '@hanse/provision'
import { latencies } from './latencies.ts'

const MB = 1024 * 1024
const CHUNK = new Uint8Array(MB)
const COMMAND_BYTES = 5
/** First byte of what a dialler sends: what it wants to happen. */
const KIND = { echo: 1, sink: 2, source: 3 } as const

function say(line: object): void {
  process.stdout.write(`${JSON.stringify(line)}\n`)
}

async function serve(identity: Identity): Promise<void> {
  const { ca, cert, key } = identity.tls
  const server = createServer({ ca, cert, key, requestCert: true, rejectUnauthorized: true })
  server.on('secureConnection', (socket) => {
    socket.setNoDelay(true)
    socket.on('error', () => undefined)
    socket.once('data', (first: Buffer) => {
      if (first[0] === KIND.echo) {
        socket.on('data', (chunk) => socket.write(chunk))
        if (first.length > COMMAND_BYTES) socket.write(first.subarray(COMMAND_BYTES))
        return
      }
      // Commands of this benchmark: kind, then MB.
      const mb = first.readUInt32BE(1)
      if (first[0] === KIND.sink) takeAll(socket, mb * MB, first.length - COMMAND_BYTES)
      else void sendAll(socket, mb)
    })
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const address = server.address()
  say({ port: typeof address === 'object' ? address?.port : undefined })
  for await (const _ of process.stdin);
  process.exit(0)
}

/** Reads so many bytes, then answers with one. */
function takeAll(socket: TLSSocket, bytes: number, already: number): void {
  let taken = already
  socket.on('data', (chunk: Buffer) => {
    taken += chunk.length
    if (taken >= bytes) socket.write(Uint8Array.of(taken === bytes ? 1 : 0))
  })
}

async function sendAll(socket: TLSSocket, mb: number): Promise<void> {
  for (let i = 0; i < mb; i++) if (!socket.write(CHUNK)) await once(socket, 'drain')
}

async function measure(identity: Identity, port: number): Promise<void> {
  const dial = async () => {
    const { ca, cert, key } = identity.tls
    const socket = connect({ host: '127.0.0.1', servername: 'localhost', port, ca, cert, key })
    await once(socket, 'secureConnect')
    return socket.setNoDelay(true)
  }
  say({ ready: true })
  for await (const line of createInterface({ input: process.stdin })) {
    const command = JSON.parse(line)
    switch (command.measure) {
      case 'requests':
        say(await measureRequests(await dial(), command))
        break
      case 'blob':
        say(await timed(() => upload(dial, command.mb)))
        break
      case 'download':
        say(await timed(() => download(dial, command.mb)))
        break
      case 'hold':
        // Nothing is said over them until we end.
        for (let i = 0; i < command.connections; i++) (await dial()).write(commandOf(KIND.echo, 0))
        say({ right: true })
        break
      case 'round':
        say(
          await timed(async () => {
            const each = (move: typeof upload) =>
              Promise.all(Array.from({ length: command.sites }, () => move(dial, command.mb)))
            return [...(await each(download)), ...(await each(upload))].every(Boolean)
          }),
        )
        break
      default:
        throw new Error(`unknown measure ${command.measure}`)
    }
  }
  process.exit(0)
}

async function timed(work: () => Promise<boolean>): Promise<object> {
  const start = performance.now()
  const right = await work()
  return { seconds: (performance.now() - start) / 1000, right }
}

async function upload(dial: () => Promise<TLSSocket>, mb: number): Promise<boolean> {
  const socket = await dial()
  socket.write(commandOf(KIND.sink, mb))
  await sendAll(socket, mb)
  const [answer] = (await once(socket, 'data')) as [Buffer]
  socket.destroy()
  return answer[0] === 1
}

async function download(dial: () => Promise<TLSSocket>, mb: number): Promise<boolean> {
  const socket = await dial()
  socket.write(commandOf(KIND.source, mb))
  let taken = 0
  for await (const chunk of socket) {
    taken += chunk.length
    if (taken >= mb * MB) break
  }
  socket.destroy()
  return taken === mb * MB
}

/** Messages of a length that both sides know: the request of a cell with its headers. */
const MESSAGE_BYTES = 512

async function measureRequests(
  socket: TLSSocket,
  command: { readonly outstanding: number; readonly requests: number },
): Promise<object> {
  socket.write(commandOf(KIND.echo, 0))
  const waiting: ((right: boolean) => void)[] = []
  let taken = 0
  socket.on('data', (chunk: Buffer) => {
    taken += chunk.length
    for (; taken >= MESSAGE_BYTES; taken -= MESSAGE_BYTES) waiting.shift()?.(true)
  })
  const message = new Uint8Array(MESSAGE_BYTES)
  const times = await latencies(command, () => {
    const { promise, resolve } = Promise.withResolvers<boolean>()
    waiting.push(resolve)
    socket.write(message)
    return promise
  })
  socket.destroy()
  return times
}

function commandOf(kind: number, mb: number): Buffer {
  const command = Buffer.alloc(COMMAND_BYTES)
  command.writeUInt8(kind)
  command.writeUInt32BE(mb, 1)
  return command
}

const [role, kit = '', port = ''] = process.argv.slice(2)
const { identity } = await loadKit(kit, { now: Date.now() })
if (role === 'serve') await serve(identity)
else await measure(identity, Number(port))
