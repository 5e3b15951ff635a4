import { PlatformError } from '@hanse/contract'

export type LaunchErrorCode =
  /** The machine cannot confine as strictly as the site asks. */
  | 'ERR_CONFINEMENT_LEVEL'
  /** The confinement could not be set up for this program; nothing of it ran. */
  | 'ERR_CONFINEMENT_SETUP'
  /** The program could not be started: not there, not executable, no memory. */
  | 'ERR_LAUNCH'
  /** What to start was described in a way that cannot be: a relative path, a name with a slash. */
  | 'ERR_LAUNCH_OPTIONS'

/** A program was not started. */
export class LaunchError extends PlatformError<LaunchErrorCode> {}
