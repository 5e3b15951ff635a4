import { constants, type FileHandle, open, stat } from 'node:fs/promises'
import { dirname } from 'node:path'
import { AuditError } from './audit-error.ts'

/** A file that only grows, by one writer. What `append` reported done is on the disk. */
export interface AppendFile extends AsyncDisposable {
  /** Octets that are safely written. */
  readonly size: number
  /** @throws whatever the disk says; then nothing of `text` counts as written, see `rollback` */
  append(text: string): Promise<void>
  /** Cuts what a failed `append` left. */
  rollback(): Promise<void>
}

/**
 * Opens or creates `path` for appending, readable by its owner only.
 * @param size where it must end; what follows is cut off
 */
export async function openAppendFile(path: string, size: number): Promise<AppendFile> {
  // Not with O_APPEND: a write must fail to reach what somebody else has added, see `verifySoleWriter`.
  const handle = await open(
    path,
    constants.O_RDWR | constants.O_CREAT | constants.O_NOFOLLOW,
    0o600,
  )
  try {
    await handle.truncate(size)
    await handle.sync()
    await syncFolder(dirname(path))
  } catch (error) {
    await handle.close()
    throw error
  }
  return new NodeAppendFile(path, handle, size)
}

class NodeAppendFile implements AppendFile {
  readonly #path: string
  readonly #handle: FileHandle
  #size: number

  constructor(path: string, handle: FileHandle, size: number) {
    this.#path = path
    this.#handle = handle
    this.#size = size
  }

  get size(): number {
    return this.#size
  }

  async append(text: string): Promise<void> {
    await this.#verifySoleWriter()
    const bytes = Buffer.from(text, 'utf8')
    let written = 0
    while (written < bytes.length) {
      const { bytesWritten } = await this.#handle.write(
        bytes,
        written,
        bytes.length - written,
        this.#size + written,
      )
      written += bytesWritten
    }
    await this.#handle.datasync()
    this.#size += bytes.length
  }

  async rollback(): Promise<void> {
    await this.#verifySoleWriter(false)
    await this.#handle.truncate(this.#size)
    await this.#handle.datasync()
  }

  async #verifySoleWriter(checkSize = true): Promise<void> {
    const own = await this.#handle.stat()
    const named = await stat(this.#path).catch(() => undefined)
    if (named === undefined || named.ino !== own.ino || named.dev !== own.dev)
      throw new AuditError(
        'ERR_AUDIT_FOREIGN_WRITE',
        'the audit file was moved, removed or replaced while it was open; restart after finding out by whom',
      )
    if (checkSize && own.size !== this.#size)
      throw new AuditError(
        'ERR_AUDIT_FOREIGN_WRITE',
        `the audit file has ${own.size} octets, but this process has written ${this.#size}: somebody else writes to it`,
        { size: own.size, written: this.#size },
      )
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#handle.close()
  }
}

/** Makes the file's name as durable as its content. */
async function syncFolder(folder: string): Promise<void> {
  const handle = await open(folder, 'r')
  try {
    await handle.sync()
  } finally {
    await handle.close()
  }
}
