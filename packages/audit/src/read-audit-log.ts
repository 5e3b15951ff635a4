import type { AbortOptions } from '@hanse/contract'
import type { AuditEntry } from './audit-entry.ts'
import { readAuditLines } from './audit-lines.ts'
import { parseLine } from './verify-entry.ts'

/** All that are given must hold; names are compared exactly. */
export interface AuditFilter {
  readonly actor?: string | undefined
  readonly act?: string | undefined
  readonly target?: string | undefined
  readonly job?: string | undefined
  readonly outcome?: 'accepted' | 'refused' | undefined
  readonly code?: string | undefined
  /** Ms since the epoch: from this time on. */
  readonly since?: number | undefined
  /** Ms since the epoch: before this time. */
  readonly until?: number | undefined
  /** From this sequence number on. */
  readonly fromSeq?: number | undefined
}

/**
 * Reads the entries that pass `filter`, oldest first. Does not verify the chain: lines that are no entries are
 * passed over; use `verifyAuditLog` first where it matters.
 * @throws {AuditError} `ERR_AUDIT_READ`
 */
export async function* readAuditLog(
  file: string,
  filter: AuditFilter = {},
  { signal }: AbortOptions = {},
): AsyncGenerator<AuditEntry, void> {
  for await (const line of readAuditLines(file)) {
    signal?.throwIfAborted()
    if (line.tooLong || !line.complete) continue
    const entry = parseLine(line.text)
    if ('hash' in entry && passes(entry, filter)) yield entry
  }
}

function passes(entry: AuditEntry, filter: AuditFilter): boolean {
  const time = Date.parse(entry.time)
  return (
    (filter.actor === undefined || entry.actor.name === filter.actor) &&
    (filter.act === undefined || entry.act === filter.act) &&
    (filter.target === undefined || entry.target === filter.target) &&
    (filter.job === undefined || entry.job === filter.job) &&
    (filter.outcome === undefined || entry.outcome === filter.outcome) &&
    (filter.code === undefined || entry.code === filter.code) &&
    (filter.since === undefined || time >= filter.since) &&
    (filter.until === undefined || time < filter.until) &&
    (filter.fromSeq === undefined || entry.seq >= filter.fromSeq)
  )
}
