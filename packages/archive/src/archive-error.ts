import { PlatformError } from '@hanse/contract'

export type ArchiveErrorCode =
  /** Not a zip archive, or damaged. */
  | 'ERR_ARCHIVE_FORMAT'
  /** A name that is absolute, climbs out, is not portable, or stands for two things. */
  | 'ERR_ARCHIVE_NAME'
  /** A symbolic link, device or other entry that is neither file nor folder. */
  | 'ERR_ARCHIVE_LINK'
  /** Encrypted, or compressed in a way we do not read. */
  | 'ERR_ARCHIVE_METHOD'
  /** More entries, octets or compression than allowed. */
  | 'ERR_ARCHIVE_LIMIT'
  | 'ERR_ARCHIVE_ENTRY_UNKNOWN'
  /** A source file changed while it was packed. */
  | 'ERR_ARCHIVE_CHANGED'
  /** The destination exists and is not empty. */
  | 'ERR_ARCHIVE_DESTINATION'

/** An archive or a source folder was refused; the message names the entry and the reason. */
export class ArchiveError extends PlatformError<ArchiveErrorCode> {}
