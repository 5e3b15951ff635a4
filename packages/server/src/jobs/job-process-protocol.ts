import { jobCell, SERVER_CELL } from '@hanse/session'

/** Log of a run, in its folder and as a blob of a job whose run is over. */
export const LOG_FILE = 'log.txt'

/** What a server's job tells its server, on `server_parent_listener` (`spec/session.md` §6.17). */
export const PARENT_TOPIC = {
  /** Its cell answers requests. */
  ready: 'hanse.ready',
  /** JSON text for whoever watches. */
  progress: 'hanse.progress',
  /** How the run ended, before the process does. */
  status: 'update_run_status',
} as const

/** What a server tells its job, on `server_command`. */
export const STOP_TOPIC = {
  abort: 'abort',
  deadSite: 'handle_dead_job',
  siteBack: 'hanse.site_back',
  logLevel: 'hanse.log_level',
} as const

/** The cell of the server's own part in `jobId`. */
export function serverJobCell(jobId: string): string {
  return jobCell(SERVER_CELL, jobId)
}
