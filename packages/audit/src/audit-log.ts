import { createHash } from 'node:crypto'
import { open, writeFile } from 'node:fs/promises'
import { type Clock, messageOf } from '@hanse/contract'
import { type AppendFile, openAppendFile } from './append-file.ts'
import {
  type AuditActor,
  type AuditEntry,
  type AuditEvent,
  type AuditHead,
  createEntry,
  entryLine,
  GENESIS,
} from './audit-entry.ts'
import { AuditError } from './audit-error.ts'
import { type AuditVerdict, verifyAuditLog } from './verify-audit-log.ts'

/** The record of one process, open for writing. */
export interface AuditLog extends AsyncDisposable {
  /** The last entry that is safely written. */
  readonly head: AuditHead
  /**
   * Records one event. Entries get the order in which `append` was called.
   * @returns the entry, once it is on the disk
   * @throws {AuditError} `ERR_AUDIT_EVENT`, `ERR_AUDIT_WRITE`, `ERR_AUDIT_FOREIGN_WRITE`, `ERR_AUDIT_OVERLOAD`,
   *   `ERR_AUDIT_CLOSED`; nothing was recorded then
   */
  append(event: AuditEvent): Promise<AuditEntry>
}

export interface AuditLogComponents {
  readonly clock: Clock
}

export interface AuditLogOptions {
  /** Head of the file that this one continues after a rotation; default: a new record. */
  readonly after?: AuditHead | undefined
  /** Who acts in entries about the record itself; default: `audit`. */
  readonly self?: AuditActor | undefined
  /** Events that may wait for the disk before `append` refuses; default 10 000. */
  readonly maxWaiting?: number | undefined
}

/** Entries that share one write and one flush. */
const MAX_BATCH = 512

/**
 * Opens `file`, or starts it. The whole chain is verified first. An incomplete last line, what a crash leaves, is
 * moved to a file of its own beside it (`<file>.torn-<seq>`), and an entry `audit.heal` says so.
 * @throws {AuditError} `ERR_AUDIT_BROKEN` if an entry does not fit; the file is left as it is
 */
export async function openAuditLog(
  file: string,
  { clock }: AuditLogComponents,
  options: AuditLogOptions = {},
): Promise<AuditLog> {
  const after = options.after ?? GENESIS
  const { head, size, torn } = await inspect(file, after)
  if (torn !== undefined)
    // Kept before it is cut: it may be evidence.
    await writeFile(`${file}.torn-${head.seq + 1}`, torn, { flag: 'wx', mode: 0o600 }).catch(
      (error: unknown) => {
        if (!isExisting(error)) throw error
      },
    )
  const log = createAuditLog(await openAppendFile(file, size), { clock }, head, options)
  if (torn === undefined) return log
  try {
    await log.append({
      actor: options.self ?? { name: 'audit' },
      act: 'audit.heal',
      outcome: 'accepted',
      code: 'incomplete-entry',
      text: `an incomplete entry of ${torn.length} octets at the end of the record, as a crash leaves it, was moved out of it`,
      facts: {
        octets: torn.length,
        sha256: createHash('sha256').update(torn).digest('hex'),
        file: `.torn-${head.seq + 1}`,
      },
    })
  } catch (error) {
    await log[Symbol.asyncDispose]()
    throw error
  }
  return log
}

/** Continues a chain at `head` in an open file; the log owns the file. */
export function createAuditLog(
  file: AppendFile,
  { clock }: AuditLogComponents,
  head: AuditHead,
  options: AuditLogOptions = {},
): AuditLog {
  return new ChainedAuditLog(file, clock, head, options.maxWaiting ?? 10_000)
}

interface Waiting {
  readonly event: AuditEvent
  readonly time: number
  readonly resolve: (entry: AuditEntry) => void
  readonly reject: (error: unknown) => void
}

class ChainedAuditLog implements AuditLog {
  readonly #file: AppendFile
  readonly #clock: Clock
  readonly #maxWaiting: number
  #head: AuditHead
  #waiting: Waiting[] = []
  #writing: Promise<void> | undefined
  #closed = false
  /** A failed write may have left octets; they are cut before the next one. */
  #dirty = false

  constructor(file: AppendFile, clock: Clock, head: AuditHead, maxWaiting: number) {
    this.#file = file
    this.#clock = clock
    this.#head = head
    this.#maxWaiting = maxWaiting
  }

  get head(): AuditHead {
    return this.#head
  }

  append(event: AuditEvent): Promise<AuditEntry> {
    if (this.#closed)
      return Promise.reject(new AuditError('ERR_AUDIT_CLOSED', 'the audit record is closed'))
    if (this.#waiting.length >= this.#maxWaiting)
      return Promise.reject(
        new AuditError(
          'ERR_AUDIT_OVERLOAD',
          `${this.#waiting.length} entries wait for the disk; no more are taken`,
        ),
      )
    return new Promise((resolve, reject) => {
      this.#waiting.push({ event, time: this.#clock.now(), resolve, reject })
      this.#writing ??= this.#writeAll()
    })
  }

  /** One batch after the other, so that many events cost few flushes. Never rejects. */
  async #writeAll(): Promise<void> {
    // Lets events of the same turn share the first flush.
    await Promise.resolve()
    while (this.#waiting.length > 0) await this.#writeBatch(this.#waiting.splice(0, MAX_BATCH))
    this.#writing = undefined
  }

  async #writeBatch(batch: readonly Waiting[]): Promise<void> {
    let head = this.#head
    const written: { waiting: Waiting; entry: AuditEntry }[] = []
    for (const waiting of batch)
      try {
        const entry = createEntry(waiting.event, head, waiting.time)
        head = { seq: entry.seq, hash: entry.hash }
        written.push({ waiting, entry })
      } catch (error) {
        waiting.reject(error)
      }
    if (written.length === 0) return
    try {
      if (this.#dirty) await this.#file.rollback()
      this.#dirty = true
      await this.#file.append(written.map(({ entry }) => entryLine(entry)).join(''))
      this.#dirty = false
    } catch (cause) {
      const error =
        cause instanceof AuditError
          ? cause
          : new AuditError(
              'ERR_AUDIT_WRITE',
              `the audit record cannot be written: ${messageOf(cause)}`,
              {},
              { cause },
            )
      // Octets of somebody else must not be cut off: they are evidence.
      if (error.code === 'ERR_AUDIT_FOREIGN_WRITE') this.#dirty = false
      for (const { waiting } of written) waiting.reject(error)
      return
    }
    this.#head = head
    for (const { waiting, entry } of written) waiting.resolve(entry)
  }

  /** Writes what waits, then closes. */
  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#closed) return
    this.#closed = true
    await this.#writing
    try {
      // What callers were told is not recorded must not be found there.
      if (this.#dirty) await this.#file.rollback()
    } finally {
      await this.#file[Symbol.asyncDispose]()
    }
  }
}

interface Inspection {
  readonly head: AuditHead
  /** Octets of complete entries. */
  readonly size: number
  readonly torn?: Uint8Array
}

async function inspect(file: string, after: AuditHead): Promise<Inspection> {
  let verdict: AuditVerdict
  try {
    verdict = await verifyAuditLog(file, { after })
  } catch (error) {
    if (error instanceof AuditError && isMissing(error.cause)) return { head: after, size: 0 }
    throw error
  }
  const handle = await open(file, 'r')
  try {
    const { size } = await handle.stat()
    if (verdict.ok) return { head: verdict.head, size }
    if (verdict.code !== 'incomplete')
      throw new AuditError(
        'ERR_AUDIT_BROKEN',
        `the audit record does not verify (${verdict.why}); keep the file as evidence, move it away and start again`,
        { line: verdict.line, seq: verdict.seq },
      )
    const torn = Buffer.alloc(size - verdict.offset)
    await handle.read(torn, 0, torn.length, verdict.offset)
    return { head: verdict.head, size: verdict.offset, torn }
  } finally {
    await handle.close()
  }
}

function isMissing(error: unknown): boolean {
  return error instanceof Error && 'code' in error && error.code === 'ENOENT'
}

function isExisting(error: unknown): boolean {
  return error instanceof Error && 'code' in error && error.code === 'EEXIST'
}
