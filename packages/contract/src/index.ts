export type { AbortOptions } from './abort-options.ts'
export {
  type BytePart,
  type ByteStore,
  blocksOf,
  bytesOf,
  type ReservedBytes,
  type StoredBytes,
  stretchesOf,
  stretchOf,
} from './byte-store.ts'
export { type Clock, systemClock } from './clock.ts'
export {
  type Connection,
  type ConnectionInfo,
  type ConnectionSecurity,
  type Driver,
  type LinkSecurity,
  type Listener,
  type TlsMaterial,
  TransportError,
  type TransportErrorCode,
} from './driver.ts'
export { FRAME_CODE_BYTES, type FrameProofs } from './frame-proofs.ts'
export {
  type BlobInfo,
  type ByteRange,
  isJobState,
  JOB_STATES,
  type JobState,
  type JobStore,
  type JsonObject,
  type JsonValue,
  type StoredJob,
  StoreError,
  type StoreErrorCode,
  type WriteBlobOptions,
} from './job-store.ts'
export { type LogFields, type Logger, silentLogger } from './logger.ts'
export {
  type AcceptedCertificate,
  CipherError,
  type CipherErrorCode,
  type MessageCipher,
} from './message-cipher.ts'
export { type ErrorDetails, hasCode, messageOf, PlatformError } from './platform-error.ts'
export { releaseMemory } from './release-memory.ts'
export { SpareMemory } from './spare-memory.ts'
