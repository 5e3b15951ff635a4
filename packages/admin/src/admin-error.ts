import { type ErrorDetails, PlatformError } from '@hanse/contract'

export type AdminErrorCode =
  /** Nobody answers at the server's address, or its answer does not come. */
  | 'ERR_SERVER_UNREACHABLE'
  /** Somebody answers there who is not this league's server. */
  | 'ERR_SERVER_IDENTITY'
  /** The server does not accept this person: another league, expired, disabled. */
  | 'ERR_LOGIN_REFUSED'
  /** The policy of the server does not grant it; the message has the reason. */
  | 'ERR_NOT_AUTHORIZED'
  /** The session is over and could not be opened again. */
  | 'ERR_SESSION_ENDED'
  /** There is no such job, or not for this session. */
  | 'ERR_JOB_UNKNOWN'
  /** The server will not run this job; the message has every reason. */
  | 'ERR_JOB_INVALID'
  /** It cannot be done while the job runs. */
  | 'ERR_JOB_RUNNING'
  /** The folder cannot be sent as a job. */
  | 'ERR_JOB_FOLDER'
  /** The kit is of another type than a person's, or says what this version cannot do. */
  | 'ERR_KIT_TYPE'
  /** The server has no such command: it is of another version, or of another make. */
  | 'ERR_COMMAND_UNKNOWN'
  /** The server could not do it. */
  | 'ERR_COMMAND_FAILED'
  /** An answer that does not follow the protocol. */
  | 'ERR_REPLY'
  /** A result did not arrive whole. */
  | 'ERR_DOWNLOAD'

/** A person's wish could not be fulfilled; `hint` says what to do next. */
export class AdminError extends PlatformError<AdminErrorCode> {
  readonly hint: string

  constructor(
    code: AdminErrorCode,
    message: string,
    hint: string,
    details: ErrorDetails = {},
    options?: ErrorOptions,
  ) {
    super(code, message, details, options)
    this.hint = hint
  }
}
