import type { AbortOptions } from '@hanse/contract'
import { type AuditHead, GENESIS } from './audit-entry.ts'
import { readAuditLines } from './audit-lines.ts'
import { type MisfitCode, verifyEntry } from './verify-entry.ts'

/** What {@link verifyAuditLog} found. */
export type AuditVerdict =
  | {
      readonly ok: true
      readonly entries: number
      /** Compare it with a head noted elsewhere: entries cut off at the end leave no other trace. */
      readonly head: AuditHead
    }
  | {
      readonly ok: false
      /** Of the first entry that does not fit, counted from 1. */
      readonly line: number
      /** Sequence number that the line should have. */
      readonly seq: number
      /** Octet offset of the line. */
      readonly offset: number
      readonly code: MisfitCode | 'head'
      readonly why: string
      /** The last head that holds. */
      readonly head: AuditHead
    }

export interface VerifyOptions extends AbortOptions {
  /** Head of the file that this one continues; default: none. */
  readonly after?: AuditHead | undefined
  /** A head noted earlier that the record must still contain. */
  readonly contains?: AuditHead | undefined
}

/**
 * Checks every entry of a record, without any key: numbers without gaps, each hash, each link to the entry before.
 * @throws {AuditError} `ERR_AUDIT_READ` if the file cannot be read at all
 */
export async function verifyAuditLog(
  file: string,
  options: VerifyOptions = {},
): Promise<AuditVerdict> {
  const { signal, contains } = options
  const start = options.after ?? GENESIS
  let head = start
  let number = 0
  const misfit = (code: MisfitCode | 'head', text: string, offset: number): AuditVerdict => ({
    ok: false,
    line: number,
    seq: head.seq + 1,
    offset,
    code,
    why: `line ${number}: ${text}`,
    head,
  })
  for await (const line of readAuditLines(file)) {
    signal?.throwIfAborted()
    number++
    if (line.tooLong) return misfit('too-long', 'it is longer than any entry', line.offset)
    if (!line.complete)
      return misfit('incomplete', 'the file ends before the entry does', line.offset)
    const entry = verifyEntry(line.text, head)
    if (!('hash' in entry)) return misfit(entry.code, entry.text, line.offset)
    head = { seq: entry.seq, hash: entry.hash }
    if (contains?.seq === entry.seq && contains.hash !== entry.hash)
      return misfit('head', 'it is not the entry that was noted earlier', line.offset)
  }
  if (contains !== undefined && contains.seq > head.seq) {
    number++
    return misfit('head', `the record ends, but entry ${contains.seq} was noted earlier`, 0)
  }
  return { ok: true, entries: head.seq - start.seq, head }
}
