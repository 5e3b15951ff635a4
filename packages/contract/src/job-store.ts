import type { AbortOptions } from './abort-options.ts'
import { PlatformError } from './platform-error.ts'

/** What a JSON text can say. */
export type JsonValue =
  | null
  | boolean
  | number
  | string
  | readonly JsonValue[]
  | { readonly [key: string]: JsonValue }

/** A JSON object; keys that came from a peer are read with `Object.hasOwn` or through a schema. */
export type JsonObject = { readonly [key: string]: JsonValue }

/** Every state a job can be in, as stock writes them (`spec/jobs.md` §4). */
export const JOB_STATES = [
  'SUBMITTED',
  'DISPATCHED',
  'RUNNING',
  'FINISHED:COMPLETED',
  'FINISHED:ABORTED',
  'FINISHED:EXECUTION_EXCEPTION',
  'FINISHED:ABNORMAL',
  'FINISHED:CAN_NOT_SCHEDULE',
  'FINISHED:FAILED_TO_RUN',
  'FINISHED:ABANDONED',
] as const

export type JobState = (typeof JOB_STATES)[number]

/** One job as stored. A snapshot: it does not change when the job does. */
export interface StoredJob {
  readonly id: string
  /** Always equal to `meta.status`. */
  readonly state: JobState
  /** Changes with every write of `meta`; only compared, never interpreted. */
  readonly revision: string
  /** The job's metadata with stock's keys (`spec/jobs.md` §2). */
  readonly meta: JsonObject
}

export interface BlobInfo {
  readonly name: string
  /** Octets. */
  readonly size: number
}

/** Half-open range of octets: `start` up to but not including `end`. */
export interface ByteRange {
  readonly start?: number | undefined
  readonly end?: number | undefined
}

export interface WriteBlobOptions extends AbortOptions {
  /** More octets than this and the write fails with `ERR_BLOB_TOO_LARGE`, leaving nothing behind. */
  readonly maxBytes?: number | undefined
}

/**
 * Durable jobs. A job is its metadata and named blobs: `data` (the uploaded archive), `workspace` (the archived
 * results) and others. What a promise reported done survives a crash; what it did not is either whole or absent.
 */
export interface JobStore extends AsyncDisposable {
  /**
   * Stores a new job, metadata and `data` together or not at all.
   * @param meta must have `job_id` and a `status` of {@link JOB_STATES}
   * @param data read to its end; one reader
   * @throws {StoreError} `ERR_JOB_EXISTS`, `ERR_JOB_ID`, `ERR_JOB_META`, `ERR_BLOB_TOO_LARGE`, `ERR_STORE_WRITE`
   */
  create(
    meta: JsonObject,
    data: AsyncIterable<Uint8Array>,
    options?: WriteBlobOptions,
  ): Promise<StoredJob>
  get(id: string): Promise<StoredJob | undefined>
  /** All jobs, oldest submission first. */
  list(): Promise<readonly StoredJob[]>
  /**
   * Replaces the metadata if the job still has `revision`.
   * @returns the new snapshot; `undefined` if somebody else was first or the job is gone
   * @throws {StoreError} `ERR_JOB_META`, `ERR_STORE_WRITE`
   */
  compareAndSet(id: string, revision: string, meta: JsonObject): Promise<StoredJob | undefined>
  /**
   * Removes the job and its blobs if it still has `revision`.
   * @returns false if somebody else was first or the job is gone
   */
  delete(id: string, revision: string): Promise<boolean>
  /**
   * Writes or replaces one blob, atomically: readers see the old or the new one.
   * @returns octets written
   * @throws {StoreError} `ERR_JOB_UNKNOWN`, `ERR_BLOB_NAME`, `ERR_BLOB_TOO_LARGE`, `ERR_STORE_WRITE`
   */
  writeBlob(
    id: string,
    name: string,
    source: AsyncIterable<Uint8Array>,
    options?: WriteBlobOptions,
  ): Promise<number>
  /**
   * Reads a blob, or a part of it, in order. A blob replaced or deleted meanwhile is read to its old end.
   * @throws {StoreError} `ERR_JOB_UNKNOWN`, `ERR_BLOB_NAME`, `ERR_BLOB_UNKNOWN` at the first step
   */
  readBlob(
    id: string,
    name: string,
    range?: ByteRange,
    options?: AbortOptions,
  ): AsyncIterable<Uint8Array>
  /** All blobs of a job, `data` included, sorted by name; empty for an unknown job. */
  blobs(id: string): Promise<readonly BlobInfo[]>
}

export type StoreErrorCode =
  | 'ERR_JOB_EXISTS'
  | 'ERR_JOB_UNKNOWN'
  /** An id that cannot name a job. */
  | 'ERR_JOB_ID'
  /** Metadata without the two keys a store needs, with another id, or that is not JSON. */
  | 'ERR_JOB_META'
  /** A name that cannot name a blob, or one the store uses itself. */
  | 'ERR_BLOB_NAME'
  | 'ERR_BLOB_UNKNOWN'
  | 'ERR_BLOB_TOO_LARGE'
  /** The disk refused; what was there before is still there. */
  | 'ERR_STORE_WRITE'
  /** What is stored cannot be read. */
  | 'ERR_STORE_READ'
  | 'ERR_STORE_CLOSED'

/** A store could not do what was asked. */
export class StoreError extends PlatformError<StoreErrorCode> {}

/** True for a text that is one of {@link JOB_STATES}. */
export function isJobState(text: unknown): text is JobState {
  return JOB_STATES.some((state) => state === text)
}
