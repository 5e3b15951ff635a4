export { grpc } from './grpc.ts'
export type { GrpcOptions } from './grpc-options.ts'
