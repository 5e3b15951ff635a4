/** Channel of the download service; `spec/streaming.md` §7. */
export const DOWNLOAD_CHANNEL = 'download_service__'

/** Pulls, confirmations and cancellations. */
export const DOWNLOAD_TOPIC = 'download_service__download'

/** The parent of a dead source tells receivers. */
export const SOURCE_FAILURE_TOPIC = 'download_service__source_failure'

/** Longest reference id that is looked at. */
export const MAX_REF_ID_CHARS = 128

/** References named by one source failure message. */
export const MAX_FAILED_REFS = 256

/** Characters of a failure's reason that are kept. */
export const MAX_REASON_CHARS = 1024
