import type { ByteStore, ReservedBytes } from '../src/byte-store.ts'

/** An array store for tests: counts what it holds, and fails when it is told to. */
export class MemoryByteStore implements ByteStore {
  readonly minBytes: number
  /** Arrays that were not released. */
  held = 0
  /** Bytes it takes before its disk is full. */
  roomBytes = Number.POSITIVE_INFINITY

  constructor(minBytes = 1) {
    this.minBytes = minBytes
  }

  reserve(byteLength: number): ReservedBytes {
    this.held += 1
    let bytes: Uint8Array | undefined = new Uint8Array(byteLength)
    const stored = (): Uint8Array => {
      if (bytes === undefined) throw new RangeError('released')
      return bytes
    }
    const write = (from: Uint8Array, offset: number): void => {
      this.roomBytes -= from.length
      if (this.roomBytes < 0) throw new Error('no space left')
      stored().set(from, offset)
    }
    const read = (target: Uint8Array, offset: number): void => {
      if (offset + target.length > byteLength) throw new RangeError('past the end')
      target.set(stored().subarray(offset, offset + target.length))
    }
    return {
      byteLength,
      read,
      write,
      release: () => {
        if (bytes !== undefined) this.held -= 1
        bytes = undefined
      },
    }
  }
}
