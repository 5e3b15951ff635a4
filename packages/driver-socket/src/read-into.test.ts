import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { connect, createServer, type Server, Socket } from 'node:net'
import { connect as connectTls, createServer as createTlsServer } from 'node:tls'
import { describe, expect, it } from 'vitest'
import { createLeagues } from '../test/league.ts'
import { readInto } from './read-into.ts'

/** @returns what comes until the end, as it came into memory of ours */
async function readAll(socket: Socket): Promise<string> {
  const memory = new Uint8Array(16)
  let text = ''
  const isDone = readInto(socket, {
    space: () => memory.fill(0),
    filled: (length) => {
      text += Buffer.from(memory.subarray(0, length)).toString()
      return true
    },
  })
  expect(isDone).toBe(true)
  socket.resume()
  await once(socket, 'end')
  socket.destroy()
  return text
}

async function listening(server: Server): Promise<number> {
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const address = server.address()
  return typeof address === 'object' && address !== null ? address.port : 0
}

const TEXT = 'more than sixteen bytes at a time'

async function expectBothToRead(accepted: Socket, dialled: Socket): Promise<void> {
  accepted.end(TEXT)
  dialled.write(TEXT)
  const answer = readAll(dialled)
  dialled.end()
  expect(await Promise.all([readAll(accepted), answer])).toEqual([TEXT, TEXT])
}

// If one of these fails after an update of Node, links still work: they take new memory for every read.
describe('readInto, with the Node that we run on', () => {
  it('serves sockets that were accepted and dialled', async () => {
    const server = createServer()
    const dialled = connect(await listening(server), '127.0.0.1')
    const [accepted] = (await once(server, 'connection')) as [Socket]
    await expectBothToRead(accepted, dialled)
    server.close()
  })

  it('serves TLS on both sides', async () => {
    const [league] = await createLeagues()
    const { ca, cert, key } = league.material('server')
    const server = createTlsServer({ cert, key })
    const port = await listening(server)
    const raw = connect(port, '127.0.0.1')
    const dialled = connectTls({ socket: raw, ca, servername: 'localhost' })
    const [accepted] = (await once(server, 'secureConnection')) as [Socket]
    await expectBothToRead(accepted, dialled)
    server.close()
  })

  it('serves the pipe to a child', async () => {
    const child = spawn(process.execPath, ['-e', `require('fs').writeSync(3, '${TEXT}')`], {
      stdio: ['ignore', 'ignore', 'ignore', 'pipe'],
    })
    const pipe = child.stdio[3]
    if (!(pipe instanceof Socket)) throw new TypeError('the pipe is no socket')
    expect(await readAll(pipe)).toBe(TEXT)
  })

  it('hands over first what the stream had taken charge of', async () => {
    const server = createServer()
    const dialled = connect(await listening(server), '127.0.0.1')
    const [accepted] = (await once(server, 'connection')) as [Socket]
    accepted.pause()
    accepted.unshift(TEXT)
    dialled.end(TEXT)
    expect(await readAll(accepted)).toBe(TEXT + TEXT)
    dialled.destroy()
    server.close()
  })

  it('leaves a socket alone that has no handle', () => {
    const socket = new Socket()
    expect(readInto(socket, { space: () => new Uint8Array(1), filled: () => true })).toBe(false)
  })
})
