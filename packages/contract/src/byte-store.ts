/** Bytes outside of memory, for example in a file. Found by the garbage collector if forgotten. */
export interface StoredBytes {
  readonly byteLength: number
  /**
   * Fills `target` with the bytes from `offset` on, at once: to be called for short stretches, with turns for others in
   * between.
   * @throws {RangeError} past the end, or after `release`
   */
  read(target: Uint8Array, offset: number): void
  /** Gives the room back: nobody can read them any more. */
  release(): void
  /**
   * What is known of the checksum (CRC-32) of the bytes from the start, for the last known place up to `offset`:
   * those who write in order need not read again. Absent: nothing is known.
   */
  checksumUpTo?(offset: number): { readonly offset: number; readonly crc: number }
}

/** Room for bytes outside of memory. */
export interface ReservedBytes extends StoredBytes {
  /** At once, like reading. What was not written is undefined. */
  write(bytes: Uint8Array, offset: number): void
}

/** Holds long bytes outside of memory. */
export interface ByteStore {
  /** Shorter ones are not worth it. */
  readonly minBytes: number
  /** @param byteLength at least 1; room that is never written takes none */
  reserve(byteLength: number): ReservedBytes
}

/** Some of consecutive bytes, in memory or not. */
export type BytePart = Uint8Array | StoredBytes

/** The bytes themselves; of stored ones a copy. */
export function bytesOf(part: BytePart): Uint8Array {
  if (part instanceof Uint8Array) return part
  const bytes = new Uint8Array(part.byteLength)
  part.read(bytes, 0)
  return bytes
}

const BLOCK_BYTES = 1024 * 1024

/**
 * The bytes in consecutive blocks: what is in memory as it is, the rest in short reads into the same memory again and
 * again.
 * @returns blocks that are borrowed until the next is asked for
 */
export function* blocksOf(parts: Iterable<BytePart>): Generator<Uint8Array, void> {
  let block: Uint8Array | undefined
  for (const part of parts) {
    if (part instanceof Uint8Array) {
      yield part
      continue
    }
    for (let at = 0; at < part.byteLength; at += BLOCK_BYTES) {
      block ??= new Uint8Array(BLOCK_BYTES)
      const filled = block.subarray(0, Math.min(BLOCK_BYTES, part.byteLength - at))
      part.read(filled, at)
      yield filled
    }
  }
}

/** Some stretches of stored bytes; the whole is released when all of them are. */
export function stretchesOf(
  whole: StoredBytes,
  places: readonly { readonly start: number; readonly byteLength: number }[],
): StoredBytes[] {
  let left = places.length
  const onRelease = (): void => {
    left -= 1
    if (left === 0) whole.release()
  }
  return places.map(({ start, byteLength }) => new Stretch(whole, start, byteLength, onRelease))
}

/** A stretch of stored bytes that are borrowed: releasing it does nothing. */
export function stretchOf(whole: StoredBytes, start: number, byteLength: number): StoredBytes {
  return new Stretch(whole, start, byteLength, () => {})
}

class Stretch implements StoredBytes {
  readonly byteLength: number
  readonly #whole: StoredBytes
  readonly #start: number
  readonly #onRelease: () => void
  #released = false

  constructor(whole: StoredBytes, start: number, byteLength: number, onRelease: () => void) {
    this.#whole = whole
    this.#start = start
    this.byteLength = byteLength
    this.#onRelease = onRelease
  }

  read(target: Uint8Array, offset: number): void {
    this.#whole.read(target, this.#placeOf(target, offset))
  }

  release(): void {
    if (this.#released) return
    this.#released = true
    this.#onRelease()
  }

  #placeOf({ length }: Uint8Array, offset: number): number {
    if (this.#released) throw new RangeError('the array was given up: it is not stored any more')
    if (offset < 0 || offset + length > this.byteLength)
      throw new RangeError(`${length} bytes from ${offset} are outside of ${this.byteLength}`)
    return this.#start + offset
  }
}
