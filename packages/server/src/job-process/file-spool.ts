import { type FileHandle, mkdir, open, unlink } from 'node:fs/promises'
import { join } from 'node:path'
import type { Spool, SpoolFactory } from '@hanse/learning'

/** Spools as files of a folder that is made when the first one is needed. */
export function fileSpools(folder: string): SpoolFactory {
  let count = 0
  return {
    async create() {
      await mkdir(folder, { recursive: true, mode: 0o700 })
      count += 1
      const path = join(folder, `contribution-${count}`)
      return new FileSpool(await open(path, 'wx+', 0o600), path)
    },
  }
}

class FileSpool implements Spool {
  readonly #file: FileHandle
  readonly #path: string
  #length = 0

  constructor(file: FileHandle, path: string) {
    this.#file = file
    this.#path = path
  }

  async append(bytes: Uint8Array): Promise<void> {
    let written = 0
    while (written < bytes.length) {
      const { bytesWritten } = await this.#file.write(
        bytes,
        written,
        bytes.length - written,
        this.#length,
      )
      written += bytesWritten
      this.#length += bytesWritten
    }
  }

  async read(offset: number, length: number): Promise<Uint8Array> {
    if (offset < 0 || length < 0 || offset + length > this.#length)
      throw new RangeError(
        `${length} bytes from ${offset} were asked for, the spool has ${this.#length}`,
      )
    const bytes = new Uint8Array(length)
    let done = 0
    while (done < length) {
      const { bytesRead } = await this.#file.read(bytes, done, length - done, offset + done)
      if (bytesRead === 0) throw new RangeError('the spool ended early')
      done += bytesRead
    }
    return bytes
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#file.close()
    await unlink(this.#path)
  }
}
