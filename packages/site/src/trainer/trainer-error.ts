import { type ErrorDetails, PlatformError } from '@hanse/contract'

export type TrainerErrorCode =
  /** The job's command names no runtime of this site, or no script of its own. */
  | 'ERR_TRAINER_COMMAND'
  /** The job asks for a data set that the site does not grant it. */
  | 'ERR_TRAINER_DATASET'
  /** The task's model has no form outside its platform. */
  | 'ERR_TRAINER_MODEL'
  /** The machine cannot hold the trainer as strictly as the site asks. */
  | 'ERR_TRAINER_CONFINEMENT'
  /** The trainer ended before it answered. */
  | 'ERR_TRAINER_EXITED'
  /** The trainer broke the trainer protocol; it was killed. */
  | 'ERR_TRAINER_VIOLATION'
  /** The trainer did not greet, or did not answer, in time; it was killed. */
  | 'ERR_TRAINER_TIMEOUT'
  /** The trainer answered with a model that does not fit the task's. */
  | 'ERR_TRAINER_RESULT'
  /** A second task while one is being done, or one after the end. */
  | 'ERR_TRAINER_STATE'

/**
 * Why a trainer gave no result. `message` is made of the site's own words only, so it may leave the site;
 * what the trainer itself printed is in `errorTail`, which may not.
 */
export class TrainerError extends PlatformError<TrainerErrorCode> {
  /** The last lines of the trainer's error stream, for the site's log. */
  readonly errorTail: readonly string[]

  constructor(
    code: TrainerErrorCode,
    message: string,
    details: ErrorDetails = {},
    options: ErrorOptions & { readonly errorTail?: readonly string[] } = {},
  ) {
    super(code, message, details, options)
    this.errorTail = options.errorTail ?? []
  }
}
