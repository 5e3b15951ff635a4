export { AdminError, type AdminErrorCode } from './admin-error.ts'
export type { CommandOptions } from './admin-link.ts'
export {
  type AbortResult,
  AdminSession,
  type JobMeta,
  type OpenSessionOptions,
  openSession,
  type WaitOptions,
} from './admin-session.ts'
export type { CommandOutcome } from './command-outcome.ts'
export type { ConnectComponents } from './connect-cell.ts'
export type { DownloadOptions } from './job-download.ts'
export type { SubmitOptions } from './job-upload.ts'
export type {
  JobLogs,
  JobObservation,
  JobProgress,
  JobSummary,
  LeagueConnection,
  LeagueSite,
  LeagueStatus,
  PlaceScopes,
  RevocationResult,
  SiteAdmission,
} from './league-types.ts'
