import { type FileHandle, link, open, rename, rm } from 'node:fs/promises'
import { hasCode } from '@hanse/contract'

/** Shorter files are simply written anew. */
const MIN_SPARE_BYTES = 1024 * 1024

/**
 * Files that are replaced as a whole, again and again: at any time, also after a crash, a path leads to the last
 * content that was written completely. The one before it waits beside it, as `<path>.part`, for its pages to be
 * written over: getting new ones from the system for every round's model costs several times as much. So who
 * opened a file has until the next but one is written to read it.
 */
export class ReplacedFiles implements AsyncDisposable {
  readonly #spares = new Set<string>()

  async write(
    path: string,
    parts: Iterable<Uint8Array> | AsyncIterable<Uint8Array>,
  ): Promise<void> {
    const temporary = `${path}.part`
    let bytes = 0
    try {
      await using file = await openPart(temporary, this.#spares.delete(temporary))
      for await (const part of parts) bytes = await writeAt(file, part, bytes)
      await file.truncate(bytes)
      await file.sync()
    } catch (error) {
      await rm(temporary, { force: true })
      throw error
    }
    const before = `${path}.before.part`
    const isKept = bytes >= MIN_SPARE_BYTES && (await isLinked(path, before))
    await rename(temporary, path)
    if (!isKept) return
    await rename(before, temporary)
    this.#spares.add(temporary)
  }

  async remove(path: string): Promise<void> {
    await rm(path, { force: true })
    if (this.#spares.delete(`${path}.part`)) await rm(`${path}.part`, { force: true })
  }

  /** Removes what waits to be written over. */
  async [Symbol.asyncDispose](): Promise<void> {
    for (const spare of this.#spares) await rm(spare, { force: true })
    this.#spares.clear()
  }
}

/** Only what we left there ourselves is written over in its place. */
async function openPart(path: string, isSpare: boolean): Promise<FileHandle> {
  return open(path, isSpare ? 'r+' : 'w', 0o600)
}

async function writeAt(file: FileHandle, part: Uint8Array, position: number): Promise<number> {
  let written = 0
  while (written < part.length) {
    const { bytesWritten } = await file.write(
      part,
      written,
      part.length - written,
      position + written,
    )
    written += bytesWritten
  }
  return position + written
}

/** Gives the file a second name; not where it is missing, or on file systems without links. */
async function isLinked(path: string, second: string): Promise<boolean> {
  try {
    await rm(second, { force: true })
    await link(path, second)
    return true
  } catch (error) {
    for (const code of ['ENOENT', 'EPERM', 'ENOTSUP', 'EOPNOTSUPP', 'EMLINK'])
      if (hasCode(error, code)) return false
    throw error
  }
}
