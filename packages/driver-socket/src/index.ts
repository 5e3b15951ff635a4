export { type AcceptOptions, acceptSockets, type Entry } from './accept-sockets.ts'
export { ChunkQueue } from './chunk-queue.ts'
export { connectTunnel } from './connect-tunnel.ts'
export { describeSocket, type SocketDescription, tuneSocket } from './describe-socket.ts'
export type { Detour } from './detour.ts'
export { type DialOptions, dialSocket } from './dial-socket.ts'
export { connectError, explainNetwork, explainTls, lostError } from './explain-error.ts'
export { frameMemory } from './frame-memory.ts'
export { FrameSplitter } from './frame-splitter.ts'
export { checkScheme, type LinkAddress, parseAddress } from './link-address.ts'
export { lookupName } from './lookup-name.ts'
export { readChunks } from './read-chunks.ts'
export {
  type RefusedHandshake,
  type SocketComponents,
  type SocketLimits,
  type SocketOptions,
  socketComponents,
} from './socket-options.ts'
export {
  type FrameReader,
  StreamConnection,
  type StreamConnectionComponents,
  type StreamConnectionOptions,
} from './stream-connection.ts'
