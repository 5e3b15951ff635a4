import { createReadStream } from 'node:fs'
import { type FileHandle, mkdir, open, rename, rm, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { type JobStore, type Logger, messageOf } from '@hanse/contract'
import {
  OBJECT_STREAM_KEY,
  type ObjectStreamConsumer,
  type ObjectStreamDecision,
  type ObjectStreamOffer,
} from '@hanse/session'

export interface SiteLogsComponents {
  readonly store: JobStore
  readonly logger: Logger
  /** Where logs are while they come in; emptied at the start. */
  readonly folder: string
  /** The site whose verified token a message carries. */
  siteOf(offer: ObjectStreamOffer): string | undefined
  /** Sites that take or took part in a job. */
  membersOf(jobId: string): Promise<readonly string[]>
}

/** Channel and topic on which stock sites push logs of jobs, error logs by default (`spec/jobs.md` §5). */
const CHANNEL = 'log_streaming'
const TOPIC = 'live_log'
const JOB_ID = /^[A-Za-z0-9][A-Za-z0-9_-]{0,127}$/
/** Names that a log may have, and what it is called as a part of its job. */
const PARTS: ReadonlyMap<string, string> = new Map([
  ['error_log.txt', 'ERRORLOG'],
  ['log.txt', 'LOG_log.txt'],
  ['log.json', 'LOG_log.json'],
  ['log_fl.txt', 'LOG_log_fl.txt'],
])
/** Of each log the last 5 to 10 MiB are kept. */
const HALF_BYTES = 5 * 1024 * 1024

/**
 * Takes the logs that stock sites send of their jobs. A site decides by itself whether it does
 * (`allow_log_streaming`); Hanse sites never do. Taken only from a site that is in the job.
 */
export class SiteLogs {
  readonly #components: SiteLogsComponents

  private constructor(components: SiteLogsComponents) {
    this.#components = components
  }

  static async open(components: SiteLogsComponents): Promise<SiteLogs> {
    await rm(components.folder, { recursive: true, force: true })
    await mkdir(components.folder, { recursive: true, mode: 0o700 })
    return new SiteLogs(components)
  }

  /** @returns `undefined` for streams that are no logs */
  async take(offer: ObjectStreamOffer): Promise<ObjectStreamDecision | undefined> {
    if (offer.channel !== CHANNEL || offer.topic !== TOPIC) return undefined
    const { siteOf, membersOf, store, logger, folder } = this.#components
    const site = siteOf(offer)
    if (site === undefined) return { refusal: 'only a site may send logs' }
    const jobId = jobOf(offer, site)
    if (jobId === undefined || !(await membersOf(jobId)).includes(site))
      return { refusal: `site '${site}' is in no such job` }
    const part = PARTS.get(String(offer.context.get(OBJECT_STREAM_KEY.fileName)))
    if (part === undefined) return { refusal: `a log is called one of ${[...PARTS.keys()]}` }
    const log = await IncomingLog.open(join(folder, crypto.randomUUID()))
    const keep = async () => {
      try {
        await log.close()
        if (!log.isEmpty) await store.writeBlob(jobId, `${part}_${site}`, log.read())
      } catch (error) {
        logger.warn('a log of a site is not kept', { jobId, site, error: messageOf(error) })
      } finally {
        await log.remove()
      }
    }
    return {
      take: (piece) => log.write(piece),
      async finish() {
        await keep()
        return undefined
      },
      // What came before a site was killed is what one wants to read.
      abandon: keep,
    } satisfies ObjectStreamConsumer
  }
}

/** A job's own process sends from its own cell; its site, after the end, says which job it was. */
function jobOf({ origin, request }: ObjectStreamOffer, site: string): string | undefined {
  const claimed = origin.startsWith(`${site}.`)
    ? origin.slice(site.length + 1)
    : request.peerProperties.get('__run_num__')
  return typeof claimed === 'string' && JOB_ID.test(claimed) ? claimed : undefined
}

/** A log on its way in: two files, of which the older one goes when the newer one is full. */
class IncomingLog {
  readonly #path: string
  #file: FileHandle
  #bytes = 0
  isEmpty = true

  private constructor(path: string, file: FileHandle) {
    this.#path = path
    this.#file = file
  }

  static async open(path: string): Promise<IncomingLog> {
    return new IncomingLog(path, await open(path, 'w', 0o600))
  }

  async write(piece: Uint8Array): Promise<void> {
    this.isEmpty = false
    if (this.#bytes + piece.length > HALF_BYTES && this.#bytes > 0) {
      await this.#file.close()
      await rename(this.#path, `${this.#path}.older`)
      this.#file = await open(this.#path, 'w', 0o600)
      this.#bytes = 0
    }
    await this.#file.write(piece)
    this.#bytes += piece.length
  }

  close(): Promise<void> {
    return this.#file.close()
  }

  async *read(): AsyncGenerator<Uint8Array, void> {
    const older = `${this.#path}.older`
    if (
      await stat(older).then(
        () => true,
        () => false,
      )
    )
      yield* createReadStream(older)
    yield* createReadStream(this.#path)
  }

  async remove(): Promise<void> {
    await rm(this.#path, { force: true })
    await rm(`${this.#path}.older`, { force: true })
  }
}
