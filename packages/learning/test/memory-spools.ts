import type { Spool, SpoolFactory } from '../src/aggregation/spool.ts'

/** Spools in memory that count what is alive. */
export class MemorySpools implements SpoolFactory {
  created = 0
  alive = 0
  /** Bytes of the largest single read. */
  largestRead = 0
  failAppend = false
  /** Awaited before each append. */
  gate: Promise<void> = Promise.resolve()

  async create(): Promise<Spool> {
    this.created++
    this.alive++
    const chunks: Uint8Array[] = []
    return {
      append: async (bytes) => {
        await this.gate
        if (this.failAppend) throw new Error('disk full')
        chunks.push(bytes.slice())
      },
      read: async (offset, length) => {
        this.largestRead = Math.max(this.largestRead, length)
        const all = Buffer.concat(chunks)
        if (offset + length > all.length) throw new Error('read past the end')
        return new Uint8Array(all.subarray(offset, offset + length))
      },
      [Symbol.asyncDispose]: async () => {
        this.alive--
      },
    }
  }
}
