import { randomUUID } from 'node:crypto'
import { type FileHandle, mkdir, open, readdir, rm } from 'node:fs/promises'
import { join } from 'node:path'

const PREFIX = 'upload-'
const SUFFIX = '.zip'

/** Makes the folder for uploads and removes what a crash left in it. */
export async function prepareUploadFolder(folder: string): Promise<void> {
  await mkdir(folder, { recursive: true, mode: 0o700 })
  for (const name of await readdir(folder))
    if (name.startsWith(PREFIX) && name.endsWith(SUFFIX))
      await rm(join(folder, name), { force: true })
}

/** One upload on its way into a temporary file, readable by the owner only. */
export class UploadFile {
  readonly path: string
  readonly #file: FileHandle
  readonly #maxBytes: number
  #size = 0
  #isClosed = false

  private constructor(path: string, file: FileHandle, maxBytes: number) {
    this.path = path
    this.#file = file
    this.#maxBytes = maxBytes
  }

  static async create(folder: string, maxBytes: number): Promise<UploadFile> {
    const path = join(folder, `${PREFIX}${randomUUID()}${SUFFIX}`)
    return new UploadFile(path, await open(path, 'wx', 0o600), maxBytes)
  }

  /** Octets written. */
  get size(): number {
    return this.#size
  }

  /** @throws {RangeError} past the limit, before anything is written */
  async write(piece: Uint8Array): Promise<void> {
    if (this.#size + piece.length > this.#maxBytes)
      throw new RangeError(
        `the upload has ${this.#size + piece.length} bytes or more; at most ${this.#maxBytes} are taken`,
      )
    this.#size += piece.length
    for (let at = 0; at < piece.length; )
      at += (await this.#file.write(piece, at, piece.length - at)).bytesWritten
  }

  /** Everything is written; the file stays until {@link remove}. */
  async close(): Promise<void> {
    if (this.#isClosed) return
    this.#isClosed = true
    await this.#file.close()
  }

  async remove(): Promise<void> {
    await this.close()
    await rm(this.path, { force: true })
  }
}
