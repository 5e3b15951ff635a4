import { PlatformError } from '@hanse/contract'

export type JobsErrorCode =
  /** A config text that cannot be read in its format. */
  | 'ERR_CONFIG_FORMAT'
  /** `{name}` references that go in circles. */
  | 'ERR_CONFIG_VARIABLES'
  /** A spec of metadata that was not validated before. */
  | 'ERR_JOB_SPEC'
  /** The folder or archive does not have the shape of a job. */
  | 'ERR_JOB_LAYOUT'
  /** The job changed too often while somebody tried to change it. */
  | 'ERR_JOB_CONTENDED'

/** A job or a part of one cannot be used; the message says where and why. */
export class JobsError extends PlatformError<JobsErrorCode> {}
