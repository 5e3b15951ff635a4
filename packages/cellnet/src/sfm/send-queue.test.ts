import type { Connection } from '@hanse/contract'
import { describe, expect, it } from 'vitest'
import { decodeFrame } from './frame.ts'
import { SendQueue } from './send-queue.ts'

const OPTIONS = { highWaterBytes: 1000, maxFrames: 8 }
const DATA = { type: 1, appId: 1, streamId: 17 }
const NONE = new Uint8Array(0)

interface Recorder {
  readonly connection: Connection
  /** Sequence number and payload length of every frame handed over. */
  readonly frames: [number, number][]
  /** Lets the oldest frame be written. */
  finish(): Promise<void>
}

function recorder(): Recorder {
  const frames: [number, number][] = []
  const pending: (() => void)[] = []
  const connection = {
    send(parts: readonly Uint8Array[]) {
      const { sequence, payload } = decodeFrame(Buffer.concat(parts))
      frames.push([sequence, payload.length])
      return new Promise<void>((resolve) => pending.push(resolve))
    },
  } as Partial<Connection> as Connection
  return {
    connection,
    frames,
    async finish() {
      pending.shift()?.()
      await new Promise((resolve) => setImmediate(resolve))
    },
  }
}

describe('SendQueue', () => {
  it('lets control overtake all bulk data but the frame being written', async () => {
    const { connection, frames, finish } = recorder()
    const queue = new SendQueue(connection, { highWaterBytes: 1e9, maxFrames: 100 })
    const bulk = new Uint8Array(1_000_000)
    const sent = [1, 2, 3].map(() => queue.send(DATA, NONE, [bulk], 'bulk'))
    sent.push(queue.send(DATA, NONE, [new Uint8Array(5)], 'normal'))
    sent.push(queue.send({ ...DATA, type: 6 }, NONE, [new Uint8Array(1)], 'control'))
    expect(frames).toEqual([[1, 1_000_000]])
    await finish()
    expect(frames.slice(1)).toEqual([
      [2, 1],
      [3, 5],
      [4, 1_000_000],
    ])
    for (let i = 0; i < 4; i++) await finish()
    await Promise.all(sent)
  })

  it('hands over several small frames at a time', () => {
    const { connection, frames } = recorder()
    const queue = new SendQueue(connection, OPTIONS)
    for (let i = 0; i < 5; i++) void queue.send(DATA, NONE, [new Uint8Array(10)], 'normal')
    expect(frames).toHaveLength(5)
  })

  it('numbers frames in the order they leave and wraps around', async () => {
    const { connection, frames, finish } = recorder()
    const queue = new SendQueue(connection, { highWaterBytes: 1e9, maxFrames: 1e9 })
    for (let i = 0; i < 65_537; i++) {
      void queue.send(DATA, NONE, [], 'normal')
      if (i % 1000 === 0) while (frames.length < i) await finish()
    }
    while (frames.length < 65_537) await finish()
    expect(frames[0]?.[0]).toBe(1)
    expect(frames[65_534]?.[0]).toBe(65_535)
    expect(frames[65_535]?.[0]).toBe(0)
    expect(frames[65_536]?.[0]).toBe(1)
  })

  it('tells when it is full and when there is room again', async () => {
    const { connection, finish } = recorder()
    const queue = new SendQueue(connection, OPTIONS)
    expect(queue.room()).toBeUndefined()
    void queue.send(DATA, NONE, [new Uint8Array(2000)], 'bulk')
    const room = queue.room()
    expect(room).toBeInstanceOf(Promise)
    await finish()
    await room
    expect(queue.room()).toBeUndefined()
  })

  it('is full of many small frames too', () => {
    const { connection } = recorder()
    const queue = new SendQueue(connection, { highWaterBytes: 1e9, maxFrames: 8 })
    for (let i = 0; i < 3; i++) void queue.send(DATA, NONE, [], 'bulk')
    expect(queue.room()).toBeUndefined()
    void queue.send(DATA, NONE, [], 'bulk')
    expect(queue.room()).toBeInstanceOf(Promise)
  })

  it('refuses more frames than it may hold', async () => {
    const { connection } = recorder()
    const queue = new SendQueue(connection, OPTIONS)
    for (let i = 0; i < 8; i++) void queue.send(DATA, NONE, [new Uint8Array(2000)], 'bulk')
    await expect(queue.send(DATA, NONE, [], 'control')).rejects.toMatchObject({
      code: 'ERR_LIMIT',
    })
  })

  it('takes back what waits when its signal fires', async () => {
    const { connection, frames, finish } = recorder()
    const queue = new SendQueue(connection, { highWaterBytes: 1e9, maxFrames: 100 })
    const abort = new AbortController()
    const first = queue.send(DATA, NONE, [new Uint8Array(100_000)], 'bulk', abort.signal)
    const second = queue.send(DATA, NONE, [new Uint8Array(7)], 'bulk', abort.signal)
    abort.abort(new Error('enough'))
    await expect(second).rejects.toThrow('enough')
    await finish()
    await first
    expect(frames).toEqual([[1, 100_000]])
    expect(queue.queuedBytes).toBe(0)
  })

  it('holds data back until it is released, but not control', () => {
    const { connection, frames } = recorder()
    const queue = new SendQueue(connection, OPTIONS)
    queue.hold()
    void queue.send(DATA, NONE, [new Uint8Array(5)], 'normal')
    void queue.send({ ...DATA, type: 4 }, NONE, [new Uint8Array(1)], 'control')
    expect(frames).toEqual([[1, 1]])
    queue.release()
    expect(frames).toEqual([
      [1, 1],
      [2, 5],
    ])
  })

  it('fails what waits and all that comes with the reason of the end', async () => {
    const { connection } = recorder()
    const queue = new SendQueue(connection, OPTIONS)
    void queue.send(DATA, NONE, [new Uint8Array(100_000)], 'bulk').catch(() => {})
    const waiting = queue.send(DATA, NONE, [new Uint8Array(1)], 'bulk')
    queue.fail(new Error('gone'))
    await expect(waiting).rejects.toThrow('gone')
    await expect(queue.send(DATA, NONE, [], 'bulk')).rejects.toThrow('gone')
    expect(queue.room()).toBeUndefined()
  })

  it('refuses headers that do not fit, and goes on', async () => {
    const { connection, frames } = recorder()
    const queue = new SendQueue(connection, { highWaterBytes: 1e9, maxFrames: 10 })
    await expect(queue.send(DATA, new Uint8Array(65_536), [], 'normal')).rejects.toMatchObject({
      code: 'ERR_HEADERS',
    })
    void queue.send(DATA, NONE, [new Uint8Array(3)], 'normal')
    expect(frames).toEqual([[1, 3]])
  })
})
