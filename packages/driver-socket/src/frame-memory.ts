import { SpareMemory } from '@hanse/contract'

/** Shorter frames are left to the garbage collector; no peer that is not admitted may send longer ones. */
const LONG_FRAME_BYTES = 64 * 1024
/** Lengths are rounded up to its multiples, so that frames of about the same length can follow each other. */
const GRAIN_BYTES = 64 * 1024
/** Kept for frames to come: a window's worth. */
const MAX_SPARE_BYTES = 16 * 1024 * 1024

/** Memory of long frames that arrive, used again. */
export class FrameMemory {
  readonly #spare = new SpareMemory(MAX_SPARE_BYTES)
  /** Each with one long frame in it and nothing else. */
  readonly #inUse = new WeakSet<ArrayBufferLike>()

  /** Memory for a long frame where another was before, if there is any. */
  takeSpare(length: number): Uint8Array | undefined {
    if (length <= LONG_FRAME_BYTES) return undefined
    const buffer = this.#spare.take(capacityOf(length))
    return buffer && this.#frameIn(buffer, length)
  }

  /**
   * The same, or new memory. Not zero-filled: every byte is overwritten before anybody sees it. No slice of a shared
   * pool.
   */
  take(length: number): Uint8Array {
    if (length <= LONG_FRAME_BYTES) return new Uint8Array(Buffer.allocUnsafeSlow(length).buffer)
    return (
      this.takeSpare(length) ??
      this.#frameIn(Buffer.allocUnsafeSlow(capacityOf(length)).buffer, length)
    )
  }

  /**
   * Takes the memory of a long frame, or of some of it, back from the last who looked at it; all views on it are empty
   * then.
   * @returns false for other memory, which is left alone
   */
  giveBack({ buffer }: Uint8Array): boolean {
    if (!(buffer instanceof ArrayBuffer) || !this.#inUse.delete(buffer)) return false
    this.#spare.giveBack(buffer)
    return true
  }

  #frameIn(buffer: ArrayBuffer, length: number): Uint8Array {
    this.#inUse.add(buffer)
    return new Uint8Array(buffer, 0, length)
  }
}

/** Of all connections of the process. */
export const frameMemory = new FrameMemory()

function capacityOf(length: number): number {
  return Math.ceil(length / GRAIN_BYTES) * GRAIN_BYTES
}
