import { closeSync, fstatSync, openSync, renameSync, rmSync, writeSync } from 'node:fs'

export interface RotatingFileOptions {
  /** A file that would grow past this is put aside first. */
  readonly maxBytes: number
  /** Files put aside that are kept, as `<path>.1` (the newest) and so on. */
  readonly keep: number
}

/**
 * A file for lines that never takes more than `maxBytes * (keep + 1)` of the disk. Each write is done when the call
 * returns. A write that fails is lost: a full disk must not end who logs.
 */
export class RotatingFile {
  readonly #path: string
  readonly #options: RotatingFileOptions
  #descriptor: number
  #size: number

  /** Appends to what is there; a new file is readable by its owner only. @throws what the file system says */
  constructor(path: string, options: RotatingFileOptions) {
    this.#path = path
    this.#options = options
    this.#descriptor = openSync(path, 'a', 0o600)
    this.#size = fstatSync(this.#descriptor).size
  }

  write(line: string): void {
    const bytes = Buffer.from(line)
    try {
      if (this.#size > 0 && this.#size + bytes.length > this.#options.maxBytes) this.#rotate()
      this.#size += writeSync(this.#descriptor, bytes)
    } catch {
      // Nobody is left to be told.
    }
  }

  #rotate(): void {
    const { keep } = this.#options
    rmSync(this.#aside(keep), { force: true })
    for (let age = keep - 1; age >= 0; age--)
      try {
        renameSync(this.#aside(age), this.#aside(age + 1))
      } catch {
        // There are not so many yet.
      }
    if (keep === 0) rmSync(this.#path, { force: true })
    const descriptor = openSync(this.#path, 'a', 0o600)
    closeSync(this.#descriptor)
    this.#descriptor = descriptor
    this.#size = fstatSync(descriptor).size
  }

  #aside(age: number): string {
    return age === 0 ? this.#path : `${this.#path}.${age}`
  }
}
