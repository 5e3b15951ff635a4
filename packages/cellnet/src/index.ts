export { type CellComponents, type CellOptions, createCell } from './cell.ts'
export type {
  AdoptOptions,
  Cell,
  CellReply,
  CellRequest,
  HandleOptions,
  ListenOptions,
  PeerSession,
  ReplyMessage,
  RequestHandler,
  RequestOptions,
} from './cell-api.ts'
export { CellError, type CellErrorCode } from './cell-error.ts'
export { isPlainChannel } from './channels.ts'
export type { Connector, ConnectorEvents, ConnectorOptions } from './connector.ts'
export {
  type BodyCodec,
  type BodyCodecComponents,
  type BodyCodecOptions,
  createBodyCodec,
  type DecodeBodyOptions,
  type EncodeBodyOptions,
  type EncodedMessage,
} from './downloads/body-codec.ts'
export type { SourceFailure } from './downloads/download-messages.ts'
export type { ByteSource, DownloadObject } from './downloads/download-object.ts'
export type {
  DownloadOffer,
  OfferLimits,
  OfferOptions,
  OfferOutcome,
} from './downloads/download-offers.ts'
export type {
  PullLimits,
  PullOptions,
  PullSink,
  PullSummary,
} from './downloads/download-puller.ts'
export {
  createDownloads,
  type Downloads,
  type DownloadsComponents,
} from './downloads/downloads.ts'
export type {
  IncomingFilter,
  IncomingFilterMessage,
  OutgoingFilter,
  OutgoingFilterMessage,
} from './filters.ts'
export { HEADER, type HeaderValue, type MessageHeaders, textHeader } from './headers.ts'
export type {
  IncomingPortMessage,
  MessagePort,
  MessagePriority,
  OutgoingPortMessage,
  PortMessageHandler,
  UnreachableMessage,
} from './message-port.ts'
export { type MessagePurpose, purposeOf } from './messages/message-purpose.ts'
export type { Misdeed, MisdeedCode } from './misdeed.ts'
export type { PeerLink } from './peer-link.ts'
export type { KnownReturnCode, ReturnCode } from './return-code.ts'
export {
  fqcnFault,
  isAdminName,
  isBelow,
  isOnServer,
  isSameOrBelow,
  leafOf,
  parentOf,
  parseFqcn,
  rootOf,
  SERVER,
} from './routing/fqcn.ts'
export type { LinkPolicy, PeerEvents, RefusedPeer } from './routing/peer-table.ts'
export { createNameResolver, type NameResolverOptions } from './security/name-resolver.ts'
export { PROOF_CAPABILITY, type RefusalCode } from './sfm/greeting.ts'
export type { DiallerReport, PeerLinkProofs } from './sfm/link-proofs.ts'
export type { StreamSource } from './streams/chunk-source.ts'
export { type BodyEncoding, bytesIn, EMPTY_BODY, type EncodedBody } from './streams/encoded-body.ts'
export type { IncomingByteStream } from './streams/incoming-byte-stream.ts'
export type { SendOutcome } from './streams/outgoing-stream.ts'
export { DEFAULT_STREAM_OPTIONS, type StreamOptions } from './streams/stream-options.ts'
export type {
  ByteStreamHandler,
  ByteStreamOptions,
  IncomingStreamReply,
  IncomingStreamRequest,
  OutgoingStreamReply,
  StreamNotifyOptions,
  StreamRequestHandler,
  StreamRequestOptions,
  StreamSendOptions,
  Streams,
} from './streams/streams.ts'
