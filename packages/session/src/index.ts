export { abortableDelay } from './abortable-delay.ts'
export {
  type Credentials,
  participantStamp,
  serverStamp,
  type TokenSigner,
} from './authentication/stamps.ts'
export {
  equalInConstantTime,
  type ParticipantKind,
  readToken,
  type TokenClaims,
  writeToken,
} from './authentication/token.ts'
export {
  createTokenGuard,
  type RefusedMessage,
  type TokenGuard,
  type TokenGuardComponents,
} from './authentication/token-guard.ts'
export {
  type ApplicationReturnCode,
  type AuxHandler,
  type AuxOptions,
  type AuxRequest,
  handleAux,
  notifyAux,
  outcome,
  type PublicProperties,
  requestAux,
  returnCodeOf,
} from './aux-messages/aux-messages.ts'
export { type ActingPerson, submitterOf } from './commands/acting-person.ts'
export { logLevelOf, type PlaceLogLevel } from './commands/log-level-words.ts'
export {
  COMMAND,
  COMMAND_HEADER,
  type CommandOutcome,
  commandSite,
  commandText,
  personHeaders,
  type ServeCommandsComponents,
  type SiteCommand,
  type SiteCommandHandler,
  serveCommands,
} from './commands/site-commands.ts'
export { EXIT_CODE } from './exit-code.ts'
export { fobsOfJson, jsonOfFobs, textIn } from './json-values.ts'
export type { KeyShare, KeyShareFactory } from './login/key-agreement.ts'
export { type Login, type LoginComponents, type LoginOptions, login } from './login/login.ts'
export {
  type ProofClaim,
  type ProofSigner,
  type ProofVerifier,
  type ProvenIdentity,
  proofText,
  type TokenMac,
} from './login/proofs.ts'
export {
  type Applicant,
  type RegistrarComponents,
  type RegistrarOptions,
  serveRegistration,
} from './login/registrar.ts'
export { AdminMessage } from './messages/admin-message.ts'
export { ClientRecord } from './messages/client-record.ts'
export {
  analyticsDataTypeEnum,
  dataKindEnum,
  dataSplitModeEnum,
  jobMetaKeyEnum,
  logWriterNameEnum,
  paramsTypeEnum,
} from './messages/enums.ts'
export { type ContextProperty, FLContext } from './messages/fl-context.ts'
export {
  adminCodecs,
  clientCodecs,
  learnableDict,
  modelLearnableDict,
  platformCodecs,
  storageCodecs,
  xgboostCodecs,
} from './messages/message-codecs.ts'
export { Shareable } from './messages/shareable.ts'
export {
  contextPropertyRequirementRecord,
  eventRequirementRecord,
  eventStatisticsRecord,
  hotStateRecord,
  namespaceRecord,
  runInfoRecord,
  runSnapshotRecord,
  signalRecord,
  WorkspacePaths,
} from './messages/storage-records.ts'
export {
  CELL_HEADER,
  CHANNEL,
  externalCell,
  FEDERATION_PROTOCOL_VERSION,
  isAtOrBelow,
  isExternalCell,
  jobCell,
  NO_SSID,
  SERVER_CELL,
  SERVER_JOB_NAME,
} from './names.ts'
export {
  OBJECT_STREAM_HEADER,
  OBJECT_STREAM_KEY,
  OBJECT_STREAM_PIECE_BYTES,
  OBJECT_STREAM_TOPIC,
} from './object-streamer/object-stream-names.ts'
export {
  type ObjectStreamConsumer,
  type ObjectStreamDecision,
  type ObjectStreamOffer,
  type ObjectStreamOpener,
  type ObjectStreamReceiverComponents,
  type ObjectStreamReceiverOptions,
  receiveObjectStreams,
} from './object-streamer/object-stream-receiver.ts'
export {
  type ObjectStreamResult,
  type ObjectStreamSenderComponents,
  type OutgoingObjectStream,
  type SendObjectStreamOptions,
  sendObjectStream,
} from './object-streamer/object-stream-sender.ts'
export {
  COMMAND_STATUS,
  type CommandReply,
  type CommandRequest,
  type CommandStatus,
  PEOPLE,
  type ReplyItem,
  readCommandReply,
  readCommandRequest,
  writeCommandReply,
  writeCommandRequest,
} from './people/command-text.ts'
export { joinWords, splitWords } from './people/command-words.ts'
export {
  CLONE_COMMAND_KEY,
  type CommandScope,
  CommandVerifier,
  digestOf,
  readSignedCommand,
  SIGNED_COMMAND_HEADER,
  type SignedCommand,
  signCommand,
  verifyCommand,
  writeSignedCommand,
} from './people/signed-command.ts'
export { type PlaceEnd, PlaceEnding } from './place-ending.ts'
export { secureRandom } from './secure-random.ts'
export { SessionError, type SessionErrorCode } from './session-error.ts'
export { participantLookup } from './tasks/participant-lookup.ts'
export {
  type ReceivedTask,
  type Submission,
  TaskClient,
  type TaskClientComponents,
  type TaskClientOptions,
} from './tasks/task-client.ts'
export { END_OF_RUN, EVENT_TOPIC, TASK_TOPIC, TRY_AGAIN } from './tasks/task-names.ts'
export {
  serveTasks,
  type TaskOffer,
  type TaskServiceOptions,
  type TaskSource,
} from './tasks/task-service.ts'
