export { HEADER, type HeaderValue, type MessageHeaders, textHeader } from './headers.ts'
export type {
  IncomingPortMessage,
  MessagePort,
  MessagePriority,
  OutgoingPortMessage,
  PortMessageHandler,
  UnreachableMessage,
} from './message-port.ts'
export type { PeerLink } from './peer-link.ts'
export type { KnownReturnCode, ReturnCode } from './return-code.ts'
