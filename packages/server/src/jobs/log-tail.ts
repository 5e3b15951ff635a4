import { createReadStream } from 'node:fs'
import { stat } from 'node:fs/promises'

/** As much as stock gives of a log. */
export const MAX_LOG_BYTES = 5 * 1024 * 1024

/**
 * The end of a log file, at most {@link MAX_LOG_BYTES} of it.
 * @throws what the file system says, `ENOENT` included
 */
export async function* logTail(path: string): AsyncGenerator<Uint8Array, void> {
  const { size } = await stat(path)
  // What is written meanwhile belongs to the next look.
  if (size > 0)
    yield* createReadStream(path, { start: Math.max(0, size - MAX_LOG_BYTES), end: size - 1 })
}
