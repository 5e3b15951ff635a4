import { randomUUID } from 'node:crypto'
import { mkdir, open, readdir, readFile, rename, rm, stat } from 'node:fs/promises'
import { join } from 'node:path'
import {
  type AbortOptions,
  type BlobInfo,
  type ByteRange,
  isJobState,
  type JobStore,
  type JsonObject,
  type Logger,
  messageOf,
  type StoredJob,
  StoreError,
  silentLogger,
  type WriteBlobOptions,
} from '@hanse/contract'
import { syncFolder, writeDurably } from './durable-file.ts'

export interface FileJobStoreComponents {
  readonly logger?: Logger | undefined
}

const META = 'meta'
const DATA = 'data'
/** Empty file: the job is no longer SUBMITTED. Stock's scheduler skips jobs that have it (`spec/jobs.md` §5). */
const SCHEDULED = 'scheduled'

const MAX_META_BYTES = 8 * 1024 * 1024
const JOB_ID = /^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$/
const BLOB_NAME = /^[A-Za-z0-9][A-Za-z0-9._@+-]{0,199}$/
const RESERVED_NAMES: ReadonlySet<string> = new Set([META, SCHEDULED])

/**
 * Opens the job store in `root`, in the layout of a stock server: one folder a job with `meta`, `data`,
 * `workspace`, `scheduled` and other blobs. One process owns the folder: metadata is read once and kept in
 * memory, and what another process writes there is not seen.
 */
export async function openFileJobStore(
  root: string,
  { logger = silentLogger }: FileJobStoreComponents = {},
): Promise<JobStore> {
  await mkdir(root, { recursive: true, mode: 0o700 })
  const store = new FileJobStore(root, logger)
  await store.load()
  return store
}

class FileJobStore implements JobStore {
  readonly #root: string
  readonly #logger: Logger
  readonly #jobs = new Map<string, StoredJob>()
  /** Last queued change of each job; changes of one job run one after another. */
  readonly #turns = new Map<string, Promise<unknown>>()
  /** Revisions of an earlier run of the process never match those of this one. */
  readonly #run = randomUUID()
  #revisions = 0
  #closed = false

  constructor(root: string, logger: Logger) {
    this.#root = root
    this.#logger = logger
  }

  /** Reads all metadata and removes what a crash left half-made. */
  async load(): Promise<void> {
    for (const item of await readdir(this.#root, { withFileTypes: true })) {
      if (!item.isDirectory()) continue
      const folder = join(this.#root, item.name)
      if (/^\.(new|deleted)-/.test(item.name)) await rm(folder, { recursive: true, force: true })
      else if (JOB_ID.test(item.name)) await this.#loadJob(item.name, folder)
    }
  }

  async #loadJob(id: string, folder: string): Promise<void> {
    for (const name of await readdir(folder))
      if (name.startsWith('.tmp-')) await rm(join(folder, name), { force: true })
    try {
      await stat(join(folder, DATA))
      const { size } = await stat(join(folder, META))
      if (size > MAX_META_BYTES) throw new Error(`its metadata has ${size} octets`)
      const meta: unknown = JSON.parse(await readFile(join(folder, META), 'utf8'))
      const job = this.#snapshot(verifiedMeta(meta, id))
      this.#jobs.set(id, job)
      await this.#tag(job)
    } catch (error) {
      // One unreadable job must not keep the others from running.
      this.#logger.error('stored job cannot be read and is left out', {
        jobId: id,
        reason: messageOf(error),
      })
    }
  }

  async create(
    meta: JsonObject,
    data: AsyncIterable<Uint8Array>,
    options: WriteBlobOptions = {},
  ): Promise<StoredJob> {
    this.#verifyOpen()
    const verified = verifiedMeta(meta)
    const id = verified.id
    if (this.#jobs.has(id)) throw existing(id)
    const fresh = join(this.#root, `.new-${randomUUID()}`)
    await mkdir(fresh, { mode: 0o700 })
    try {
      await writing(() => writeDurably(join(fresh, DATA), data, options))
      options.signal?.throwIfAborted()
      await writing(() => writeDurably(join(fresh, META), [verified.bytes]))
      return await this.#inTurn(id, async () => {
        if (this.#jobs.has(id)) throw existing(id)
        await writing(async () => {
          // The one step that makes the job exist. Fails if anything is there, also a job left out in `load`.
          await rename(fresh, join(this.#root, id))
          await syncFolder(this.#root)
        })
        const job = this.#snapshot(verified)
        this.#jobs.set(id, job)
        await this.#tag(job)
        return job
      })
    } catch (error) {
      await rm(fresh, { recursive: true, force: true })
      throw error
    }
  }

  get(id: string): Promise<StoredJob | undefined> {
    return Promise.resolve(this.#jobs.get(id))
  }

  list(): Promise<readonly StoredJob[]> {
    return Promise.resolve([...this.#jobs.values()].toSorted(bySubmission))
  }

  compareAndSet(id: string, revision: string, meta: JsonObject): Promise<StoredJob | undefined> {
    this.#verifyOpen()
    return this.#inTurn(id, async () => {
      const current = this.#jobs.get(id)
      if (current === undefined || current.revision !== revision) return undefined
      const verified = verifiedMeta(meta, id)
      await writing(() => writeDurably(join(this.#root, id, META), [verified.bytes]))
      const job = this.#snapshot(verified)
      this.#jobs.set(id, job)
      await this.#tag(job)
      return job
    })
  }

  delete(id: string, revision: string): Promise<boolean> {
    this.#verifyOpen()
    return this.#inTurn(id, async () => {
      const current = this.#jobs.get(id)
      if (current === undefined || current.revision !== revision) return false
      const grave = join(this.#root, `.deleted-${randomUUID()}`)
      await writing(async () => {
        await rename(join(this.#root, id), grave)
        await syncFolder(this.#root)
      })
      this.#jobs.delete(id)
      await writing(() => rm(grave, { recursive: true, force: true }))
      return true
    })
  }

  writeBlob(
    id: string,
    name: string,
    source: AsyncIterable<Uint8Array>,
    options: WriteBlobOptions = {},
  ): Promise<number> {
    this.#verifyOpen()
    verifyBlobName(name)
    if (name === DATA)
      throw new StoreError('ERR_BLOB_NAME', 'the uploaded archive of a job is never replaced')
    this.#known(id)
    // Outside the job's turn: a long upload must not hold up a change of state.
    return writing(() => writeDurably(join(this.#root, id, name), source, options))
  }

  async *readBlob(
    id: string,
    name: string,
    { start = 0, end = Number.MAX_SAFE_INTEGER }: ByteRange = {},
    { signal }: AbortOptions = {},
  ): AsyncGenerator<Uint8Array, void> {
    verifyBlobName(name)
    this.#known(id)
    const handle = await open(join(this.#root, id, name), 'r').catch((cause: unknown) => {
      throw new StoreError(
        isMissing(cause) ? 'ERR_BLOB_UNKNOWN' : 'ERR_STORE_READ',
        isMissing(cause)
          ? `job ${id} has no ${JSON.stringify(name)}`
          : `${JSON.stringify(name)} of job ${id} cannot be read: ${messageOf(cause)}`,
        {},
        { cause },
      )
    })
    try {
      let position = start
      while (position < end) {
        signal?.throwIfAborted()
        const buffer = new Uint8Array(Math.min(262_144, end - position))
        const { bytesRead } = await handle.read(buffer, 0, buffer.length, position)
        if (bytesRead === 0) return
        position += bytesRead
        yield buffer.subarray(0, bytesRead)
      }
    } finally {
      await handle.close()
    }
  }

  async blobs(id: string): Promise<readonly BlobInfo[]> {
    if (!this.#jobs.has(id)) return []
    const folder = join(this.#root, id)
    const infos: BlobInfo[] = []
    for (const name of await readdir(folder)) {
      if (!BLOB_NAME.test(name) || RESERVED_NAMES.has(name)) continue
      const info = await stat(join(folder, name)).catch(() => undefined)
      if (info?.isFile() === true) infos.push({ name, size: info.size })
    }
    return infos.toSorted((a, b) => (a.name < b.name ? -1 : 1))
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#closed = true
    await Promise.allSettled(this.#turns.values())
  }

  #inTurn<T>(id: string, action: () => Promise<T>): Promise<T> {
    const before = this.#turns.get(id) ?? Promise.resolve()
    const turn = before.then(action, action)
    const last = turn.then(
      () => undefined,
      () => undefined,
    )
    this.#turns.set(id, last)
    void last.then(() => {
      if (this.#turns.get(id) === last) this.#turns.delete(id)
    })
    return turn
  }

  #snapshot({ id, meta, state }: VerifiedMeta): StoredJob {
    return { id, state, revision: `${this.#run}.${++this.#revisions}`, meta }
  }

  /** Only a hint for stock servers; a failure to write it is no failure of the change. */
  async #tag(job: StoredJob): Promise<void> {
    if (job.state === 'SUBMITTED') return
    try {
      const handle = await open(join(this.#root, job.id, SCHEDULED), 'a', 0o600)
      await handle.close()
    } catch (error) {
      this.#logger.warn('job could not be tagged as scheduled', {
        jobId: job.id,
        reason: messageOf(error),
      })
    }
  }

  #known(id: string): void {
    if (!this.#jobs.has(id))
      throw new StoreError('ERR_JOB_UNKNOWN', `there is no job ${JSON.stringify(id)}`)
  }

  #verifyOpen(): void {
    if (this.#closed) throw new StoreError('ERR_STORE_CLOSED', 'the job store is closed')
  }
}

interface VerifiedMeta {
  readonly id: string
  readonly state: StoredJob['state']
  /** A deep copy, frozen at the top, equal to what is on the disk. */
  readonly meta: JsonObject
  readonly bytes: Uint8Array
}

function verifiedMeta(meta: unknown, expectedId?: string): VerifiedMeta {
  if (typeof meta !== 'object' || meta === null || Array.isArray(meta))
    throw new StoreError('ERR_JOB_META', 'the metadata of a job is not an object')
  const fields = new Map<string, unknown>(Object.entries(meta))
  const id = fields.get('job_id')
  const state = fields.get('status')
  if (typeof id !== 'string' || !JOB_ID.test(id))
    throw new StoreError('ERR_JOB_ID', `${JSON.stringify(id)} cannot be the id of a job`)
  if (expectedId !== undefined && id !== expectedId)
    throw new StoreError('ERR_JOB_META', `the metadata of job ${expectedId} names job ${id}`)
  if (!isJobState(state))
    throw new StoreError('ERR_JOB_META', `job ${id} has the unknown status ${String(state)}`)
  const text = JSON.stringify(meta, undefined, 2)
  const bytes = new TextEncoder().encode(text)
  if (bytes.length > MAX_META_BYTES)
    throw new StoreError(
      'ERR_JOB_META',
      `the metadata of job ${id} has ${bytes.length} octets; at most ${MAX_META_BYTES} are kept`,
    )
  const copy: JsonObject = Object.freeze(JSON.parse(text))
  return { id, state, meta: copy, bytes }
}

function verifyBlobName(name: string): void {
  if (!BLOB_NAME.test(name) || RESERVED_NAMES.has(name))
    throw new StoreError('ERR_BLOB_NAME', `${JSON.stringify(name)} cannot be the name of a blob`)
}

function bySubmission(a: StoredJob, b: StoredJob): number {
  return submitTime(a) - submitTime(b) || (a.id < b.id ? -1 : 1)
}

function submitTime({ meta }: StoredJob): number {
  const time = meta['submit_time']
  return typeof time === 'number' ? time : 0
}

/** Runs a step that writes; what the disk says becomes an error of the store. */
async function writing<T>(step: () => Promise<T>): Promise<T> {
  try {
    return await step()
  } catch (cause) {
    if (!isSystemError(cause)) throw cause
    if (cause.code === 'ENOTEMPTY' || cause.code === 'EEXIST')
      throw new StoreError(
        'ERR_JOB_EXISTS',
        'there is already something under this job id',
        {},
        { cause },
      )
    throw new StoreError(
      'ERR_STORE_WRITE',
      `the job store cannot be written: ${cause.message}`,
      {},
      { cause },
    )
  }
}

function isSystemError(error: unknown): error is NodeJS.ErrnoException {
  return error instanceof Error && 'syscall' in error && 'code' in error
}

function isMissing(error: unknown): boolean {
  return isSystemError(error) && error.code === 'ENOENT'
}

function existing(id: string): StoreError {
  return new StoreError('ERR_JOB_EXISTS', `there is already a job ${id}`)
}
