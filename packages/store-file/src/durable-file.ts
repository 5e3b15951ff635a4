import { randomUUID } from 'node:crypto'
import { open, rename, rm } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { StoreError, type WriteBlobOptions } from '@hanse/contract'

/**
 * Writes a file so that `path` has the old or the new content at every moment, also after a crash: into a
 * temporary file beside it, flushed, then renamed. Readable by its owner only.
 * @returns octets written
 * @throws {StoreError} `ERR_BLOB_TOO_LARGE`; otherwise whatever the disk or `source` says
 */
export async function writeDurably(
  path: string,
  source: AsyncIterable<Uint8Array> | Iterable<Uint8Array>,
  { maxBytes = Number.MAX_SAFE_INTEGER, signal }: WriteBlobOptions = {},
): Promise<number> {
  const temporary = join(dirname(path), `.tmp-${randomUUID()}`)
  const handle = await open(temporary, 'wx', 0o600)
  try {
    let size = 0
    try {
      for await (const chunk of source) {
        signal?.throwIfAborted()
        size += chunk.length
        if (size > maxBytes)
          throw new StoreError(
            'ERR_BLOB_TOO_LARGE',
            `more than ${maxBytes} octets came; that many are allowed`,
            { maxBytes },
          )
        await handle.writeFile(chunk)
      }
      await handle.sync()
    } finally {
      await handle.close()
    }
    await rename(temporary, path)
    await syncFolder(dirname(path))
    return size
  } catch (error) {
    await rm(temporary, { force: true })
    throw error
  }
}

/** Makes names in a folder as durable as the files behind them. */
export async function syncFolder(folder: string): Promise<void> {
  const handle = await open(folder, 'r')
  try {
    await handle.sync()
  } finally {
    await handle.close()
  }
}
