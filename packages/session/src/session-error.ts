import { PlatformError } from '@hanse/contract'

export type SessionErrorCode =
  | 'ERR_SERVER_UNREACHABLE'
  | 'ERR_SERVER_IDENTITY'
  /** The server offers less than it did before. */
  | 'ERR_DOWNGRADE'
  | 'ERR_LOGIN_REFUSED'
  | 'ERR_LOGIN_PROTOCOL'
  /** A person's signature on a command is missing or does not hold here. */
  | 'ERR_COMMAND_PROOF'
  | 'ERR_MESSAGE_SHAPE'
  | 'ERR_NOT_A_PARTICIPANT'

/** A login or an exchange above the cell layer did not succeed. */
export class SessionError extends PlatformError<SessionErrorCode> {}
