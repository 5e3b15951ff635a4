/** A promise of memory; give it back exactly once. */
export interface Reservation {
  readonly bytes: number
  release(): void
}

interface Waiter {
  readonly family: string
  readonly bytes: number
  readonly onGranted: (reservation: Reservation) => void
}

/**
 * Shares out a fixed number of bytes, with a ceiling per peer family. A body is promised its whole length
 * before its bytes are acknowledged, so what was let in can always be completed and two half-received bodies
 * never wait for each other.
 */
export class ReceiveBudget {
  readonly #maxBytes: number
  readonly #maxBytesPerPeer: number
  readonly #perFamily = new Map<string, number>()
  readonly #waiting = new Set<Waiter>()
  #used = 0

  constructor(maxBytes: number, maxBytesPerPeer: number) {
    this.#maxBytes = maxBytes
    this.#maxBytesPerPeer = Math.min(maxBytes, maxBytesPerPeer)
  }

  /** Bytes promised at the moment. */
  get used(): number {
    return this.#used
  }

  /** Largest reservation that can ever be granted. */
  get largest(): number {
    return this.#maxBytesPerPeer
  }

  /** Grants at once, or not at all. */
  tryReserve(family: string, bytes: number): Reservation | undefined {
    if (!this.#fits(family, bytes)) return undefined
    return this.#grant(family, bytes)
  }

  /** Grants as soon as there is room, first come first served within a family. Dispose to stop waiting. */
  whenRoom(
    family: string,
    bytes: number,
    onGranted: (reservation: Reservation) => void,
  ): Disposable {
    const waiter: Waiter = { family, bytes, onGranted }
    this.#waiting.add(waiter)
    return { [Symbol.dispose]: () => this.#waiting.delete(waiter) }
  }

  #fits(family: string, bytes: number): boolean {
    const used = this.#perFamily.get(family) ?? 0
    return this.#used + bytes <= this.#maxBytes && used + bytes <= this.#maxBytesPerPeer
  }

  #grant(family: string, bytes: number): Reservation {
    this.#used += bytes
    this.#perFamily.set(family, (this.#perFamily.get(family) ?? 0) + bytes)
    let released = false
    return {
      bytes,
      release: () => {
        if (released) return
        released = true
        this.#release(family, bytes)
      },
    }
  }

  #release(family: string, bytes: number): void {
    this.#used -= bytes
    const left = (this.#perFamily.get(family) ?? 0) - bytes
    if (left > 0) this.#perFamily.set(family, left)
    else this.#perFamily.delete(family)

    const blocked = new Set<string>()
    for (const waiter of [...this.#waiting]) {
      // A large body at the head of its family's line is not overtaken by that family's small ones.
      if (blocked.has(waiter.family)) continue
      if (!this.#fits(waiter.family, waiter.bytes)) {
        blocked.add(waiter.family)
        continue
      }
      // A grant before this one may have ended others' waiting.
      if (!this.#waiting.delete(waiter)) continue
      waiter.onGranted(this.#grant(waiter.family, waiter.bytes))
    }
  }
}
