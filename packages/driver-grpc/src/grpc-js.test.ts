import { fileURLToPath } from 'node:url'
import {
  type ClientDuplexStream,
  credentials,
  loadPackageDefinition,
  Server,
  ServerCredentials,
  type ServerDuplexStream,
  type ServiceClientConstructor,
} from '@grpc/grpc-js'
import { loadSync } from '@grpc/proto-loader'
import { beforeAll, describe, expect, it } from 'vitest'
import { patternFrame } from '../../driver-socket/test/frames.ts'
import { createLeagues, type League } from '../../driver-socket/test/league.ts'
import { CLEAR, collect, listenWith } from '../../driver-socket/test/loopback.ts'
import { grpc } from './grpc.ts'

const MEGABYTE = 2 ** 20

interface Frame {
  readonly seq: number
  readonly data: Uint8Array
}

// The loader gives what the file beside this test defines.
const { streamer } = loadPackageDefinition(
  loadSync(fileURLToPath(new URL('../test/streamer.proto', import.meta.url))),
) as unknown as { streamer: { Streamer: ServiceClientConstructor } }
const { Streamer } = streamer

const NO_LIMIT = {
  'grpc.max_receive_message_length': -1,
  'grpc.max_send_message_length': -1,
}

/** Opens the call; the loader makes the method, which the types do not know. */
function openCall(client: object): ClientDuplexStream<Frame, Frame> {
  const method: unknown = Reflect.get(client, 'Stream')
  if (typeof method !== 'function') throw new TypeError('the client lacks the method Stream')
  return method.call(client)
}

describe('grpc and grpc-js as foreign peer', () => {
  let league: League
  beforeAll(async () => {
    ;[league] = await createLeagues()
  })

  it.each(['clear', 'mtls'] as const)('serves a grpc-js client, %s', async (mode) => {
    const security = mode === 'clear' ? CLEAR : league.mtls('server')
    await using ears = await listenWith(grpc({ maxFrameBytes: 8 * MEGABYTE }), security)
    const { ca, cert, key } = league.material('site-1')
    const client = new Streamer(
      `localhost:${ears.port}`,
      mode === 'clear'
        ? credentials.createInsecure()
        : credentials.createSsl(Buffer.from(ca), Buffer.from(key ?? ''), Buffer.from(cert ?? '')),
      NO_LIMIT,
    )
    const call = openCall(client)
    const got: Frame[] = []
    const done = new Promise<number>((resolve, reject) => {
      call.on('data', (frame: Frame) => {
        got.push(frame)
        if (got.length === 3) call.end()
      })
      call.on('status', ({ code }) => resolve(code))
      call.on('error', reject)
    })
    const frames = [64, 3 * MEGABYTE, 16].map(patternFrame)
    for (const [i, data] of frames.entries()) call.write({ seq: i + 1, data })
    const accepted = await ears.accepted
    await accepted.receive((frame) => accepted.send([frame.subarray(0, 16), frame.subarray(16)]))
    expect(await done).toBe(0)
    expect(accepted.peerName).toBe(mode === 'clear' ? undefined : 'site-1')
    expect(got.map(({ seq }) => seq)).toEqual([1, 2, 3])
    for (const [i, frame] of frames.entries())
      expect(Buffer.from(got[i]?.data ?? []).equals(frame)).toBe(true)
    client.close()
  })

  it.each(['clear', 'mtls'] as const)('talks to a grpc-js server, %s', async (mode) => {
    const server = new Server(NO_LIMIT)
    const seqs: number[] = []
    server.addService(Streamer.service, {
      Stream(call: ServerDuplexStream<Frame, Frame>) {
        call.on('data', (frame: Frame) => {
          seqs.push(frame.seq)
          call.write(frame)
        })
        call.on('end', () => call.end())
      },
    })
    const { ca, cert, key } = league.material('server')
    const bound = Promise.withResolvers<number>()
    server.bindAsync(
      '127.0.0.1:0',
      mode === 'clear'
        ? ServerCredentials.createInsecure()
        : ServerCredentials.createSsl(
            Buffer.from(ca),
            [{ private_key: Buffer.from(key ?? ''), cert_chain: Buffer.from(cert ?? '') }],
            true,
          ),
      (error, port) => (error === null ? bound.resolve(port) : bound.reject(error)),
    )
    const connection = await grpc({ maxFrameBytes: 8 * MEGABYTE }).connect(
      new URL(`grpc://127.0.0.1:${await bound.promise}`),
      mode === 'clear' ? CLEAR : league.mtls('site-1'),
    )
    const { next, over } = collect(connection)
    for (const frame of [64, 3 * MEGABYTE, 16].map(patternFrame)) {
      await connection.send([frame])
      expect(Buffer.from(await next()).equals(frame)).toBe(true)
    }
    expect(seqs).toEqual([1, 2, 3])
    await connection[Symbol.asyncDispose]()
    await over
    server.forceShutdown()
  })
})
