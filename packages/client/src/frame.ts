import type { ByteStore, ReservedBytes, StoredBytes } from '@hanse/contract'
import { elementBlocks, isTensor, type Tensor, tensorByteLength, tensorBytes } from '@hanse/tensor'
import { ClientError } from './client-error.ts'

/** The start of every frame: `HTP1`. Garbage on the pipe is noticed at the first byte. */
const MAGIC = 0x31505448
const PREFIX_BYTES = 16
/** Arrays start at multiples of this, counted from the start of the body, and so does the body. */
export const ARRAY_ALIGNMENT = 64

/** What a reader takes from its peer at most; `docs/trainer-protocol.md` §2. */
export interface FrameLimits {
  /** Bytes of JSON a frame; default 16 MiB. */
  readonly maxHeaderBytes: number
  /** Bytes of arrays a frame; default 8 GiB. The buffer is reserved when the frame begins. */
  readonly maxBodyBytes: number
  /** Arrays a frame; default 65,536. */
  readonly maxArrays: number
}

export const DEFAULT_FRAME_LIMITS: FrameLimits = Object.freeze({
  maxHeaderBytes: 16 * 1024 * 1024,
  maxBodyBytes: 8 * 1024 * 1024 * 1024,
  maxArrays: 65_536,
})

/** One message as it travels: a JSON object and the bytes of its arrays. */
export interface Frame {
  /** Parsed, not yet checked. */
  readonly header: unknown
  /** Owned by the receiver; in memory it starts its own buffer, so typed arrays over it are aligned. */
  readonly body: Uint8Array | StoredBytes
}

/**
 * One frame as consecutive parts. The array parts are views on `arrays`, borrowed until the frame is written.
 * @throws {ClientError} `ERR_TRAINER_VALUE`
 */
export function encodeFrame(
  header: Readonly<Record<string, unknown>>,
  arrays: readonly Tensor[] = [],
): Uint8Array[] {
  const { head, paddings } = layOut(header, arrays)
  return [head, ...arrays.flatMap((array, i) => [paddings[i]!, tensorBytes(array)])].filter(
    ({ length }) => length > 0,
  )
}

/**
 * The same part by part: stored arrays are read in blocks. Each part is borrowed until the next is asked for.
 * @throws {ClientError} `ERR_TRAINER_VALUE`, at once
 */
export function frameParts(
  header: Readonly<Record<string, unknown>>,
  arrays: readonly Tensor[] = [],
): Iterable<Uint8Array> {
  const { head, paddings } = layOut(header, arrays)
  return (function* () {
    yield head
    for (const [i, array] of arrays.entries()) {
      yield paddings[i]!
      yield* elementBlocks(array)
    }
  })()
}

/** The frame's head, and the zeros before each array. */
function layOut(
  header: Readonly<Record<string, unknown>>,
  arrays: readonly Tensor[],
): { readonly head: Uint8Array; readonly paddings: readonly Uint8Array[] } {
  const described =
    arrays.length === 0
      ? header
      : { ...header, arrays: arrays.map(({ dtype, shape }) => ({ dtype, shape })) }
  const json = new TextEncoder().encode(JSON.stringify(described))
  const headerBytes = aligned(PREFIX_BYTES + json.length) - PREFIX_BYTES
  const head = new Uint8Array(PREFIX_BYTES + headerBytes).fill(0x20)
  head.set(json, PREFIX_BYTES)

  let bodyBytes = 0
  const paddings = arrays.map((array) => {
    if (!isTensor(array)) throw new ClientError('ERR_TRAINER_VALUE', 'an array is not a tensor')
    const padding = aligned(bodyBytes) - bodyBytes
    bodyBytes += padding + tensorByteLength(array)
    return new Uint8Array(padding)
  })
  const view = new DataView(head.buffer)
  view.setUint32(0, MAGIC, true)
  view.setUint32(4, headerBytes, true)
  view.setBigUint64(8, BigInt(bodyBytes), true)
  return { head, paddings }
}

/** `offset`, or the next multiple of {@link ARRAY_ALIGNMENT}. */
export function aligned(offset: number): number {
  return Math.ceil(offset / ARRAY_ALIGNMENT) * ARRAY_ALIGNMENT
}

/** Bytes of a long body that are gathered before they are stored. */
const BLOCK_BYTES = 1024 * 1024

/**
 * Cuts a stream of bytes, however it is chunked, into frames. Array bytes are copied once, from the chunk to
 * the body, in memory or in a store. After an error the stream is lost: nothing more can be read from it.
 */
export class FrameDecoder {
  readonly #limits: FrameLimits
  readonly #store: ByteStore | undefined
  /** Where the body goes block by block, `#stored` bytes so far. */
  #elements: ReservedBytes | undefined
  #stored = 0
  #block: Uint8Array<ArrayBuffer> | undefined
  #target: Uint8Array<ArrayBuffer> = new Uint8Array(PREFIX_BYTES)
  #filled = 0
  #stage: 'prefix' | 'header' | 'body' = 'prefix'
  #bodyBytes = 0
  #header: unknown

  /** @param store for long bodies; while it fails, and without one, they stay in memory */
  constructor(limits: Partial<FrameLimits> = {}, store?: ByteStore) {
    this.#limits = { ...DEFAULT_FRAME_LIMITS, ...limits }
    this.#store = store
  }

  /** True between frames: a stream that ends here ended in an orderly way. */
  get idle(): boolean {
    return this.#stage === 'prefix' && this.#filled === 0
  }

  /**
   * @param chunk borrowed for the call
   * @throws {ClientError} `ERR_TRAINER_FRAME`
   */
  push(chunk: Uint8Array): Frame[] {
    const frames: Frame[] = []
    let taken = 0
    while (taken < chunk.length) {
      const count = Math.min(this.#target.length - this.#filled, chunk.length - taken)
      this.#target.set(chunk.subarray(taken, taken + count), this.#filled)
      this.#filled += count
      taken += count
      // A stage of no bytes (an empty body) is complete at once.
      while (this.#filled === this.#target.length) {
        const frame = this.#advance()
        if (frame !== undefined) {
          frames.push(frame)
          break
        }
      }
    }
    return frames
  }

  #advance(): Frame | undefined {
    switch (this.#stage) {
      case 'prefix':
        this.#begin('header', this.#readPrefix())
        return undefined
      case 'header':
        this.#header = parseHeader(this.#target)
        this.#beginBody()
        return undefined
      case 'body': {
        if (this.#elements !== undefined && !this.#storeBlock(this.#elements)) return undefined
        const frame = { header: this.#header, body: this.#elements ?? this.#target }
        this.#elements = undefined
        this.#header = undefined
        this.#begin('prefix', PREFIX_BYTES)
        return frame
      }
    }
  }

  /** Checks both lengths before anything of their size is reserved. */
  #readPrefix(): number {
    const view = new DataView(this.#target.buffer)
    if (view.getUint32(0, true) !== MAGIC)
      throw new ClientError(
        'ERR_TRAINER_FRAME',
        'the pipe carries something else than trainer protocol 1',
      )
    const headerBytes = view.getUint32(4, true)
    const bodyBytes = view.getBigUint64(8, true)
    if (headerBytes > this.#limits.maxHeaderBytes)
      throw new ClientError(
        'ERR_TRAINER_FRAME',
        `a header of ${headerBytes} bytes is over the limit of ${this.#limits.maxHeaderBytes}`,
      )
    if (headerBytes < 2 || (PREFIX_BYTES + headerBytes) % ARRAY_ALIGNMENT !== 0)
      throw new ClientError(
        'ERR_TRAINER_FRAME',
        `a header of ${headerBytes} bytes does not end at a multiple of ${ARRAY_ALIGNMENT}`,
      )
    if (bodyBytes > this.#limits.maxBodyBytes)
      throw new ClientError(
        'ERR_TRAINER_FRAME',
        `arrays of ${bodyBytes} bytes are over the limit of ${this.#limits.maxBodyBytes}`,
      )
    this.#bodyBytes = Number(bodyBytes)
    return headerBytes
  }

  #beginBody(): void {
    if (this.#store === undefined || this.#bodyBytes < this.#store.minBytes) {
      this.#begin('body', this.#bodyBytes)
      return
    }
    this.#elements = this.#store.reserve(this.#bodyBytes)
    this.#stored = 0
    this.#stage = 'body'
    this.#beginBlock()
  }

  #beginBlock(): void {
    this.#block ??= new Uint8Array(BLOCK_BYTES)
    this.#target = this.#block.subarray(0, Math.min(BLOCK_BYTES, this.#bodyBytes - this.#stored))
    this.#filled = 0
  }

  /** @returns whether the body is complete */
  #storeBlock(elements: ReservedBytes): boolean {
    const block = this.#target
    try {
      elements.write(block, this.#stored)
    } catch {
      // A full disk is not the trainer's fault: the body goes on in memory.
      this.#elements = undefined
      this.#begin('body', this.#bodyBytes)
      elements.read(this.#target.subarray(0, this.#stored), 0)
      elements.release()
      this.#target.set(block, this.#stored)
      this.#filled = this.#stored + block.length
      return this.#filled === this.#bodyBytes
    }
    this.#stored += block.length
    if (this.#stored === this.#bodyBytes) return true
    this.#beginBlock()
    return false
  }

  #begin(stage: 'prefix' | 'header' | 'body', bytes: number): void {
    this.#stage = stage
    this.#filled = 0
    try {
      this.#target = new Uint8Array(bytes)
    } catch (cause) {
      throw new ClientError(
        'ERR_TRAINER_FRAME',
        `no memory for ${bytes} bytes of arrays`,
        { bytes },
        { cause },
      )
    }
  }
}

function parseHeader(bytes: Uint8Array): unknown {
  try {
    return JSON.parse(new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes))
  } catch (cause) {
    throw new ClientError('ERR_TRAINER_FRAME', 'a header is not JSON in UTF-8', {}, { cause })
  }
}
