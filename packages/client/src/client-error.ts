import { PlatformError } from '@hanse/contract'

export type ClientErrorCode =
  /** Bytes that are no frame of the trainer protocol, or a frame past a limit. */
  | 'ERR_TRAINER_FRAME'
  /** A well-formed frame that is not allowed here: unknown type, wrong fields, wrong order. */
  | 'ERR_TRAINER_PROTOCOL'
  /** The site does not speak our version of the protocol, or turned us away. */
  | 'ERR_TRAINER_REFUSED'
  /** The pipe to the site ended. */
  | 'ERR_TRAINER_CLOSED'
  /** A call that needs a received task, or `init`, before it. */
  | 'ERR_TRAINER_ORDER'
  /** A model, metric or log that the protocol cannot carry. */
  | 'ERR_TRAINER_VALUE'

/** What goes wrong between a trainer and its site. */
export class ClientError extends PlatformError<ClientErrorCode> {}
