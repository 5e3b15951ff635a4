import { describeCells } from '../../driver-socket/test/cells-suite.ts'
import { grpc } from './grpc.ts'

describeCells('grpc', grpc)
