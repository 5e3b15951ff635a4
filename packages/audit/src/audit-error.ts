import { PlatformError } from '@hanse/contract'

export type AuditErrorCode =
  /** What is in the file does not verify: it is kept as it is, and nothing is added to it. */
  | 'ERR_AUDIT_BROKEN'
  /** Another process wrote to the file, or somebody replaced it, while it was open. */
  | 'ERR_AUDIT_FOREIGN_WRITE'
  | 'ERR_AUDIT_WRITE'
  | 'ERR_AUDIT_READ'
  /** More entries wait to be written than allowed. */
  | 'ERR_AUDIT_OVERLOAD'
  /** An event with a field that must not or cannot be recorded. */
  | 'ERR_AUDIT_EVENT'
  | 'ERR_AUDIT_CLOSED'

/** The record could not be opened, written or read. An act that cannot be recorded should not happen. */
export class AuditError extends PlatformError<AuditErrorCode> {}
