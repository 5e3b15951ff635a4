import { open } from 'node:fs/promises'
import { messageOf } from '@hanse/contract'
import { MAX_LINE_BYTES } from './audit-entry.ts'
import { AuditError } from './audit-error.ts'

/** One line of a file, without its line feed. */
export interface AuditLine {
  readonly text: string
  /** Octet offset of its first octet. */
  readonly offset: number
  /** False for octets at the end of the file that no line feed ends. */
  readonly complete: boolean
  /** Longer than any entry; `text` then has only the beginning. */
  readonly tooLong: boolean
}

const LINE_FEED = 0x0a
const READ_BYTES = 262_144

/**
 * Reads the lines of a file in order, with bounded memory. Octets that are not UTF-8 become U+FFFD, so that such
 * a line never verifies.
 * @throws {AuditError} `ERR_AUDIT_READ`
 */
export async function* readAuditLines(file: string): AsyncGenerator<AuditLine, void> {
  let handle: Awaited<ReturnType<typeof open>>
  try {
    handle = await open(file, 'r')
  } catch (cause) {
    throw new AuditError(
      'ERR_AUDIT_READ',
      `the audit record cannot be read: ${messageOf(cause)}`,
      {},
      { cause },
    )
  }
  try {
    let rest = Buffer.alloc(0)
    let offset = 0
    const buffer = Buffer.alloc(READ_BYTES)
    for (;;) {
      const { bytesRead } = await handle.read(buffer, 0, buffer.length)
      if (bytesRead === 0) break
      const bytes = Buffer.concat([rest, buffer.subarray(0, bytesRead)])
      let start = 0
      for (;;) {
        const end = bytes.indexOf(LINE_FEED, start)
        if (end === -1) break
        yield line(bytes.subarray(start, end), offset + start, true)
        start = end + 1
      }
      rest = bytes.subarray(start)
      offset += start
      if (rest.length > MAX_LINE_BYTES) {
        yield line(rest, offset, false)
        return
      }
    }
    if (rest.length > 0) yield line(rest, offset, false)
  } finally {
    await handle.close()
  }
}

function line(bytes: Buffer, offset: number, complete: boolean): AuditLine {
  return {
    text: bytes.toString('utf8', 0, Math.min(bytes.length, MAX_LINE_BYTES)),
    offset,
    complete,
    tooLong: bytes.length > MAX_LINE_BYTES,
  }
}
