export type { RefusedHandshake } from '@hanse/driver-socket'
export { type PipeConnectionOptions, pipeConnection } from './pipe-connection.ts'
export { tcp } from './tcp.ts'
export type { TcpOptions } from './tcp-options.ts'
