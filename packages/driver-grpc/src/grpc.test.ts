import { describeDriver } from '../../driver-socket/test/driver-suite.ts'
import { grpc } from './grpc.ts'

describeDriver({
  name: 'grpc',
  schemes: ['grpc', 'grpcs', 'agrpc', 'agrpcs'],
  secureScheme: 'grpcs',
  alpn: 'h2',
  create: grpc,
})
