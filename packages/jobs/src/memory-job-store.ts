import {
  type AbortOptions,
  type BlobInfo,
  type ByteRange,
  isJobState,
  type JobStore,
  type JsonObject,
  type StoredJob,
  StoreError,
  type WriteBlobOptions,
} from '@hanse/contract'

/** A job store in memory: for simulations and tests; passes the same suite as those that keep. */
export function createMemoryJobStore(): JobStore {
  return new MemoryJobStore()
}

const RESERVED_NAMES: ReadonlySet<string> = new Set(['meta', 'scheduled'])

class MemoryJobStore implements JobStore {
  readonly #jobs = new Map<string, { job: StoredJob; blobs: Map<string, Uint8Array> }>()
  #revisions = 0

  async create(
    meta: JsonObject,
    data: AsyncIterable<Uint8Array>,
    options: WriteBlobOptions = {},
  ): Promise<StoredJob> {
    const job = this.#snapshot(meta)
    this.#verifyNew(job.id)
    const bytes = await collect(data, options)
    this.#verifyNew(job.id)
    this.#jobs.set(job.id, { job, blobs: new Map([['data', bytes]]) })
    return job
  }

  get(id: string): Promise<StoredJob | undefined> {
    return Promise.resolve(this.#jobs.get(id)?.job)
  }

  list(): Promise<readonly StoredJob[]> {
    const time = ({ meta }: StoredJob) => Number(meta['submit_time'] ?? 0)
    const jobs = [...this.#jobs.values()].map(({ job }) => job)
    return Promise.resolve(jobs.toSorted((a, b) => time(a) - time(b) || (a.id < b.id ? -1 : 1)))
  }

  async compareAndSet(
    id: string,
    revision: string,
    meta: JsonObject,
  ): Promise<StoredJob | undefined> {
    const entry = this.#jobs.get(id)
    if (entry?.job.revision !== revision) return undefined
    const job = this.#snapshot(meta)
    if (job.id !== id)
      throw new StoreError('ERR_JOB_META', `the metadata of job ${id} names job ${job.id}`)
    entry.job = job
    return job
  }

  delete(id: string, revision: string): Promise<boolean> {
    const isCurrent = this.#jobs.get(id)?.job.revision === revision
    return Promise.resolve(isCurrent && this.#jobs.delete(id))
  }

  async writeBlob(
    id: string,
    name: string,
    source: AsyncIterable<Uint8Array>,
    options: WriteBlobOptions = {},
  ): Promise<number> {
    verifyBlobName(name)
    if (name === 'data')
      throw new StoreError('ERR_BLOB_NAME', 'the uploaded archive of a job is never replaced')
    const { blobs } = this.#entry(id)
    const bytes = await collect(source, options)
    blobs.set(name, bytes)
    return bytes.length
  }

  async *readBlob(
    id: string,
    name: string,
    { start, end }: ByteRange = {},
    { signal }: AbortOptions = {},
  ): AsyncGenerator<Uint8Array, void> {
    verifyBlobName(name)
    const bytes = this.#entry(id).blobs.get(name)
    if (bytes === undefined)
      throw new StoreError('ERR_BLOB_UNKNOWN', `job ${id} has no ${JSON.stringify(name)}`)
    signal?.throwIfAborted()
    const part = bytes.slice(start, end)
    if (part.length > 0) yield part
  }

  blobs(id: string): Promise<readonly BlobInfo[]> {
    const blobs = [...(this.#jobs.get(id)?.blobs ?? [])]
    const infos = blobs.map(([name, bytes]) => ({ name, size: bytes.length }))
    return Promise.resolve(infos.toSorted((a, b) => (a.name < b.name ? -1 : 1)))
  }

  [Symbol.asyncDispose](): Promise<void> {
    return Promise.resolve()
  }

  #snapshot(meta: JsonObject): StoredJob {
    const id = meta['job_id']
    const state = meta['status']
    if (typeof id !== 'string' || !/^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$/.test(id))
      throw new StoreError('ERR_JOB_ID', `${JSON.stringify(id)} cannot be the id of a job`)
    if (!isJobState(state))
      throw new StoreError('ERR_JOB_META', `job ${id} has the unknown status ${String(state)}`)
    const copy: JsonObject = JSON.parse(JSON.stringify(meta))
    return { id, state, revision: String(++this.#revisions), meta: Object.freeze(copy) }
  }

  #verifyNew(id: string): void {
    if (this.#jobs.has(id)) throw new StoreError('ERR_JOB_EXISTS', `there is already a job ${id}`)
  }

  #entry(id: string): { job: StoredJob; blobs: Map<string, Uint8Array> } {
    const entry = this.#jobs.get(id)
    if (entry === undefined)
      throw new StoreError('ERR_JOB_UNKNOWN', `there is no job ${JSON.stringify(id)}`)
    return entry
  }
}

function verifyBlobName(name: string): void {
  if (!/^[A-Za-z0-9][A-Za-z0-9._@+-]{0,199}$/.test(name) || RESERVED_NAMES.has(name))
    throw new StoreError('ERR_BLOB_NAME', `${JSON.stringify(name)} cannot be the name of a blob`)
}

async function collect(
  source: AsyncIterable<Uint8Array>,
  { maxBytes = Number.MAX_SAFE_INTEGER, signal }: WriteBlobOptions,
): Promise<Uint8Array> {
  const chunks: Uint8Array[] = []
  let size = 0
  for await (const chunk of source) {
    signal?.throwIfAborted()
    size += chunk.length
    if (size > maxBytes)
      throw new StoreError(
        'ERR_BLOB_TOO_LARGE',
        `more than ${maxBytes} octets came; that many are allowed`,
        { maxBytes },
      )
    chunks.push(Uint8Array.from(chunk))
  }
  return Buffer.concat(chunks)
}
