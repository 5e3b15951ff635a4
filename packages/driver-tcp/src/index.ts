export { type PipeConnectionOptions, pipeConnection } from './pipe-connection.ts'
export { tcp } from './tcp.ts'
export type { RefusedHandshake, TcpOptions } from './tcp-options.ts'
