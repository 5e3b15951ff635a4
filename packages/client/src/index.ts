export { ClientError, type ClientErrorCode } from './client-error.ts'
export {
  ARRAY_ALIGNMENT,
  DEFAULT_FRAME_LIMITS,
  encodeFrame,
  type Frame,
  FrameDecoder,
  type FrameLimits,
} from './frame.ts'
export {
  type ClientApiSettings,
  encodeMessage,
  messageParts,
  parseSiteMessage,
  parseTrainerMessage,
  type SiteMessage,
  TRAINER_PROTOCOL,
  TRAINER_PROTOCOL_OF_VALUES,
  type TrainerMessage,
  type TrainerWelcome,
} from './messages.ts'
export type { ParamsType, TrainerModel } from './trainer-model.ts'
export { type ByteChannel, TrainerSession, type TrainerSessionOptions } from './trainer-session.ts'
export type { MetaValue } from './wire-value.ts'
