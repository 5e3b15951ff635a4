import { randomUUID } from 'node:crypto'
import type { ByteSource, DownloadOffer, Downloads } from '@hanse/cellnet'
import { COMMAND_STATUS } from '@hanse/session'
import type { AdminSession } from './admin-sessions.ts'
import { CommandFailure } from './reply-builder.ts'
import type { JobFile } from './server-control.ts'

export interface JobDownloadsOptions {
  /** Silence after which an offer ends. Default 300 s. */
  readonly idleTimeoutMs?: number | undefined
  /** Offers open at once in one session. Default 4. */
  readonly maxOffersPerSession?: number | undefined
}

/**
 * Files of finished jobs that people are pulling. An offer is for one session's cell alone: the references are of
 * no use to anybody else, and end with the session.
 */
export class JobDownloads implements Disposable {
  readonly #downloads: Pick<Downloads, 'offer'>
  readonly #onProgress: (session: AdminSession) => void
  readonly #idleTimeoutMs: number
  readonly #maxOffersPerSession: number
  readonly #offers = new Map<string, Set<DownloadOffer>>()

  /** @param onProgress called for every piece that was read: pulling is activity, too */
  constructor(
    downloads: Pick<Downloads, 'offer'>,
    onProgress: (session: AdminSession) => void,
    options: JobDownloadsOptions = {},
  ) {
    this.#downloads = downloads
    this.#onProgress = onProgress
    this.#idleTimeoutMs = options.idleTimeoutMs ?? 300_000
    this.#maxOffersPerSession = options.maxOffersPerSession ?? 4
  }

  /**
   * @returns one reference for each file, in order
   * @throws {CommandFailure} when the session has too many downloads open
   */
  offer(session: AdminSession, files: readonly JobFile[]): readonly string[] {
    const open = this.#offers.get(session.id) ?? new Set()
    if (open.size >= this.#maxOffersPerSession)
      throw new CommandFailure(
        COMMAND_STATUS.error,
        `${open.size} downloads of this session are open; at most ${this.#maxOffersPerSession} may be`,
      )
    const offer = this.#downloads.offer(
      files.map(({ source }) => ({ kind: 'bytes', source: this.#watched(source, session) })),
      {
        receivers: [session.cell],
        idleTimeoutMs: this.#idleTimeoutMs,
        refIds: files.map(() => `R${randomUUID()}`),
      },
    )
    this.#offers.set(session.id, open.add(offer))
    void offer.ended.then(() => {
      open.delete(offer)
      if (open.size === 0) this.#offers.delete(session.id)
    })
    return offer.refIds
  }

  /** Ends everything that a session was pulling. */
  cancel(session: AdminSession): void {
    for (const offer of this.#offers.get(session.id) ?? []) offer.cancel()
  }

  [Symbol.dispose](): void {
    for (const offers of this.#offers.values()) for (const offer of offers) offer.cancel()
  }

  #watched(source: ByteSource, session: AdminSession): ByteSource {
    return {
      size: source.size,
      read: (offset, length, options) => {
        this.#onProgress(session)
        return source.read(offset, length, options)
      },
    }
  }
}
