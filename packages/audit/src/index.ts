export {
  type AuditActor,
  type AuditEntry,
  type AuditEvent,
  type AuditHead,
  GENESIS,
} from './audit-entry.ts'
export { AuditError, type AuditErrorCode } from './audit-error.ts'
export {
  type AuditLog,
  type AuditLogComponents,
  type AuditLogOptions,
  openAuditLog,
} from './audit-log.ts'
export { type AuditFilter, readAuditLog } from './read-audit-log.ts'
export {
  createRefusalRecorder,
  type RefusalRecorderComponents,
  type RefusalRecorderOptions,
} from './refusal-recorder.ts'
export { type AuditVerdict, type VerifyOptions, verifyAuditLog } from './verify-audit-log.ts'
export type { MisfitCode } from './verify-entry.ts'
