import { releaseMemory } from '@hanse/contract'
import { type FrameMemory, frameMemory } from './frame-memory.ts'

/** What bytes are read into whose place is not known yet. Of all connections: nothing is left there when others run. */
const LOBBY = new Uint8Array(64 * 1024)
/** Bytes are joined as they come only once this part of them is there: memory is not had for mere claims. */
const GATHER_SHARE = 1 / 8

export interface ChunkQueueOptions {
  /** Nobody else looks at the chunks' memory: it is freed as soon as it was copied. Default false. */
  readonly ownsChunks?: boolean | undefined
  /** Default: the one of the process. */
  readonly memory?: FrameMemory | undefined
}

interface Chunk {
  bytes: Uint8Array
  /** Nobody else has a view on its memory. */
  isOurs: boolean
  /** In the lobby: gone with the next read. */
  isBorrowed: boolean
}

/** Bytes that arrived in chunks, taken out in other lengths. */
export class ChunkQueue {
  readonly #ownsChunks: boolean
  readonly #memory: FrameMemory
  readonly #chunks: Chunk[] = []
  #length = 0
  /** Bytes at the front that will be taken together; 0 if unknown. */
  #wanted = 0
  /** Their place, filled as they come, up to `#filled`; before all chunks. */
  #joined: Uint8Array | undefined
  #filled = 0
  /** The last space was in that place, not in the lobby. */
  #readsToPlace = false

  constructor({ ownsChunks = false, memory = frameMemory }: ChunkQueueOptions = {}) {
    this.#ownsChunks = ownsChunks
    this.#memory = memory
  }

  get length(): number {
    return this.#length
  }

  /** Takes over `chunk`. */
  push(chunk: Uint8Array): void {
    if (chunk.length === 0) return
    // A plain view: the slice() of Node's Buffer shares memory where everyone expects a copy.
    const bytes = new Uint8Array(chunk.buffer, chunk.byteOffset, chunk.length)
    this.#chunks.push({
      bytes,
      isOurs: this.#ownsChunks && chunk.length === chunk.buffer.byteLength,
      isBorrowed: false,
    })
    this.#length += chunk.length
    this.#gather()
  }

  /** Where the next bytes can be read to: the place of what is expected, if there is one by now. */
  space(): Uint8Array {
    const joined = this.#joined
    this.#readsToPlace = joined !== undefined && this.#filled < joined.length
    return joined !== undefined && this.#readsToPlace ? joined.subarray(this.#filled) : LOBBY
  }

  /** Takes over `length` bytes that were read into the last {@link space}; {@link keep} is to follow. */
  filled(length: number): void {
    this.#length += length
    if (this.#readsToPlace) {
      this.#filled += length
      return
    }
    this.#chunks.push({ bytes: LOBBY.subarray(0, length), isOurs: false, isBorrowed: true })
    this.#gather()
  }

  /** From now on others may read into the last {@link space}. */
  keep(): void {
    const last = this.#chunks.at(-1)
    if (last?.isBorrowed !== true) return
    last.bytes = last.bytes.slice()
    last.isBorrowed = false
  }

  /** The first `count` bytes as an unsigned big-endian number; there have to be as many, and none expected. */
  peekNumber(count: number): number {
    let number = 0
    let seen = 0
    for (const { bytes } of this.#chunks)
      for (const byte of bytes) {
        if (seen === count) return number
        number = number * 256 + byte
        seen += 1
      }
    return number
  }

  /** Says that the next {@link take} will be of `length` bytes, so that joining them can begin. */
  expect(length: number): void {
    this.#wanted = length
    this.#gather()
  }

  /**
   * Takes out `length` bytes, of which there have to be as many: a view on their chunk, joined if they span several.
   * Nothing is left in the lobby then: whoever gets the bytes may do what makes other connections read.
   */
  take(length: number): Uint8Array {
    this.#wanted = 0
    const first = this.#chunks[0]
    if (this.#joined === undefined && first !== undefined && first.bytes.length >= length) {
      this.keep()
      const { bytes } = first
      this.#length -= length
      if (bytes.length === length) this.#chunks.shift()
      else {
        first.bytes = bytes.subarray(length)
        first.isOurs = false
      }
      return bytes.subarray(0, length)
    }
    const joined = this.#joined ?? this.#memory.take(length)
    this.#fill(joined)
    this.#joined = undefined
    this.#filled = 0
    this.#length -= length
    this.keep()
    return joined
  }

  #gather(): void {
    const first = this.#chunks[0]
    if (first === undefined) return
    if (this.#joined === undefined) {
      // What lies in one chunk is not copied at all.
      if (first.bytes.length >= this.#wanted) return
      const isDue = this.#length >= this.#wanted * GATHER_SHARE
      this.#joined = isDue ? this.#memory.take(this.#wanted) : this.#memory.takeSpare(this.#wanted)
      if (this.#joined === undefined) return
    }
    this.#fill(this.#joined)
  }

  /** Moves bytes from the chunks to their place. */
  #fill(joined: Uint8Array): void {
    let used = 0
    for (const chunk of this.#chunks) {
      const rest = joined.length - this.#filled
      if (rest === 0) break
      const { bytes } = chunk
      if (bytes.length > rest) {
        joined.set(bytes.subarray(0, rest), this.#filled)
        chunk.bytes = bytes.subarray(rest)
        this.#filled += rest
        break
      }
      joined.set(bytes, this.#filled)
      this.#filled += bytes.length
      used += 1
      if (chunk.isOurs) releaseMemory(new Uint8Array(bytes.buffer))
    }
    this.#chunks.splice(0, used)
  }
}
