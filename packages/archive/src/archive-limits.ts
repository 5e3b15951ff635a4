/** What an archive may hold. Checked against what it declares before anything is read, and again on real octets. */
export interface ArchiveLimits {
  /** Files and folders, those that only names imply not counted. */
  readonly maxEntries: number
  readonly maxMemberBytes: number
  /** All members together, unpacked. */
  readonly maxTotalBytes: number
  /** Unpacked octets per octet of the whole archive. */
  readonly maxRatio: number
  /** Folders above a file. */
  readonly maxDepth: number
}

/** Roomy for jobs and their results, and no danger to a server's disk. */
export const DEFAULT_ARCHIVE_LIMITS: ArchiveLimits = {
  maxEntries: 10_000,
  maxMemberBytes: 256 * 1024 * 1024,
  maxTotalBytes: 1024 * 1024 * 1024,
  maxRatio: 100,
  maxDepth: 32,
}

/** Name of an entry in octets of UTF-8. */
export const MAX_NAME_BYTES = 1024
