import { closeSync, openSync, writeSync } from 'node:fs'
import type { Readable } from 'node:stream'

export interface OutputLogOptions {
  /** File that both streams go to, created 0600; absent: they are read and dropped. */
  readonly path?: string | undefined
  /** Size at which the file ends; the program goes on and its further output is dropped. Default 16 MiB. */
  readonly maxBytes?: number | undefined
}

const TAIL_LINES = 20
const TAIL_LINE_CHARACTERS = 400
const DEFAULT_MAX_BYTES = 16 * 1024 * 1024

/**
 * Where a program's output goes: a file of bounded size, and the last lines of the error stream in memory.
 * Always reads on, so that a program never waits for its log.
 */
export class OutputLog {
  #fd: number | undefined
  #maxBytes = DEFAULT_MAX_BYTES
  readonly #tail: string[] = []
  readonly #ends: Promise<void>[] = []
  #line = ''
  #written = 0
  #closed = false

  /** Sends what comes from now on into a file; for a log that has none yet. */
  open({ path, maxBytes = DEFAULT_MAX_BYTES }: OutputLogOptions): void {
    this.#fd = path === undefined ? undefined : openSync(path, 'a', 0o600)
    this.#maxBytes = maxBytes
  }

  /** Reads `stream` to its end. */
  follow(stream: Readable, kind: 'output' | 'error'): void {
    const { promise, resolve } = Promise.withResolvers<void>()
    this.#ends.push(promise)
    stream.on('data', (chunk: Uint8Array) => {
      this.#store(chunk)
      if (kind === 'error') this.#remember(chunk)
    })
    stream.on('error', () => resolve())
    stream.on('close', () => resolve())
  }

  /** Waits until the streams have ended, closes the file and returns the last lines of the error stream. */
  async finish(): Promise<readonly string[]> {
    await Promise.all(this.#ends)
    if (!this.#closed && this.#fd !== undefined) closeSync(this.#fd)
    this.#closed = true
    return this.#line === '' ? this.#tail : [...this.#tail, this.#line].slice(-TAIL_LINES)
  }

  #store(chunk: Uint8Array): void {
    if (this.#fd === undefined || this.#closed || this.#written >= this.#maxBytes) return
    const kept = chunk.subarray(0, this.#maxBytes - this.#written)
    this.#written += kept.length
    try {
      writeSync(this.#fd, kept)
      if (this.#written >= this.#maxBytes)
        writeSync(this.#fd, `\n[cut here: the log may have ${this.#maxBytes} bytes]\n`)
    } catch {
      // A full disk must not end the program whose output this is.
      this.#written = this.#maxBytes
    }
  }

  #remember(chunk: Uint8Array): void {
    const lines = (this.#line + new TextDecoder().decode(chunk)).split('\n')
    this.#line = (lines.pop() ?? '').slice(0, TAIL_LINE_CHARACTERS)
    for (const line of lines) this.#tail.push(line.slice(0, TAIL_LINE_CHARACTERS))
    this.#tail.splice(0, this.#tail.length - TAIL_LINES)
  }
}
