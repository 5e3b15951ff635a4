import { Duplex, duplexPair } from 'node:stream'
import { setImmediate as turn } from 'node:timers/promises'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { fakeClock } from '../../driver-socket/test/fake-clock.ts'
import { frameOf, patternFrame } from '../../driver-socket/test/frames.ts'
import { pipeConnection } from './pipe-connection.ts'

/** A stream whose writes finish only when told to. */
function stuckStream(): { stream: Duplex; writes: (() => void)[] } {
  const writes: (() => void)[] = []
  const stream = new Duplex({
    read() {},
    write(_chunk, _encoding, callback) {
      writes.push(callback)
    },
  })
  return { stream, writes }
}

describe('pipeConnection', () => {
  it('carries frames of any size both ways, in order', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.integer({ min: 16, max: 700_000 }), { minLength: 1, maxLength: 6 }),
        async (sizes) => {
          const [left, right] = duplexPair()
          await using a = pipeConnection(left)
          await using b = pipeConnection(right, { maxFrameBytes: 2 ** 20 })
          const received: number[] = []
          const over = b.receive((frame) => {
            expect(Buffer.from(frame).equals(patternFrame(frame.length))).toBe(true)
            received.push(frame.length)
          })
          await Promise.all(
            sizes.map((size) => {
              const frame = patternFrame(size)
              // Cut into parts anywhere.
              return a.send([frame.subarray(0, 10), frame.subarray(10, 17), frame.subarray(17)])
            }),
          )
          await a[Symbol.asyncDispose]()
          await over
          expect(received).toEqual(sizes)
          expect(b.bytesReceived).toBe(a.bytesSent)
        },
      ),
      { numRuns: 15 },
    )
  })

  it('reads no further frame while the receiver is busy', async () => {
    const [left, right] = duplexPair()
    await using a = pipeConnection(left)
    await using b = pipeConnection(right)
    const gate = Promise.withResolvers<void>()
    const second = Promise.withResolvers<void>()
    const seen: number[] = []
    const over = b.receive((frame) => {
      seen.push(frame.length)
      if (seen.length === 1) return gate.promise
      return second.resolve()
    })
    await a.send([patternFrame(20)])
    await a.send([patternFrame(30)])
    await turn()
    expect(seen).toEqual([20])
    gate.resolve()
    await second.promise
    expect(seen).toEqual([20, 30])
    await a[Symbol.asyncDispose]()
    await over
  })

  it('rejects receive() with what the receiver threw', async () => {
    const [left, right] = duplexPair()
    await using a = pipeConnection(left, { closeTimeoutMs: 10 })
    await using b = pipeConnection(right)
    const over = b.receive(() => {
      throw new Error('no such frame')
    })
    await a.send([patternFrame(20)])
    await expect(over).rejects.toThrow('no such frame')
  })

  it('loses the connection when the peer ends within a frame', async () => {
    const [left, right] = duplexPair()
    await using b = pipeConnection(right)
    const over = b.receive(() => {})
    left.end(frameOf(new Uint8Array(8)).subarray(0, 20))
    await expect(over).rejects.toMatchObject({ code: 'ERR_CONNECTION_LOST' })
    await expect(b.send([patternFrame(16)])).rejects.toMatchObject({ code: 'ERR_CONNECTION_LOST' })
  })

  it('refuses a frame over its limit and closes', async () => {
    const [left, right] = duplexPair()
    await using b = pipeConnection(right)
    const over = b.receive(() => {})
    left.write(patternFrame(16))
    left.write(frameOf(new Uint8Array(64 * 1024)).subarray(0, 4))
    await expect(over).rejects.toMatchObject({ code: 'ERR_FRAME_LENGTH' })
    expect(right.destroyed).toBe(true)
  })

  it('cuts a peer that accepts nothing, and only then', async () => {
    const clock = fakeClock()
    const { stream, writes } = stuckStream()
    await using connection = pipeConnection(stream, { clock, sendStallTimeoutMs: 1000 })
    const large = connection.send([patternFrame(600_000)])
    const state = large.then(
      () => 'sent',
      (error: { code: string }) => error.code,
    )
    // Each batch that gets through is progress, however slow the whole is.
    for (let batch = 0; batch < 2; batch++) {
      clock.advance(900)
      writes.shift()?.()
      await turn()
    }
    clock.advance(900)
    expect(stream.destroyed).toBe(false)
    clock.advance(100)
    expect(await state).toBe('ERR_SEND_TIMEOUT')
    expect(stream.destroyed).toBe(true)
  })

  it('takes back a waiting frame on abort, but never half a frame', async () => {
    const { stream, writes } = stuckStream()
    await using connection = pipeConnection(stream)
    const abort = new AbortController()
    const first = connection.send([patternFrame(20)], abort)
    const second = connection.send([patternFrame(30)], abort)
    abort.abort(new Error('changed my mind'))
    await expect(second).rejects.toThrow('changed my mind')
    writes.shift()?.()
    await expect(first).resolves.toBeUndefined()
    expect(connection.bytesSent).toBe(20)
    await expect(connection.send([patternFrame(16)], abort)).rejects.toThrow('changed my mind')
    stream.destroy()
  })

  it('ends sends and receive on disposal, twice without harm', async () => {
    const [left, right] = duplexPair()
    await using peer = pipeConnection(right)
    void peer.receive(() => {})
    const a = pipeConnection(left)
    const over = a.receive(() => {})
    await a[Symbol.asyncDispose]()
    await a[Symbol.asyncDispose]()
    await over
    await expect(a.send([patternFrame(16)])).rejects.toMatchObject({
      code: 'ERR_CONNECTION_CLOSED',
    })
  })
})
