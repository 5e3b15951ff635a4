import { describeCells } from '../../driver-socket/test/cells-suite.ts'
import { tcp } from './tcp.ts'

describeCells('tcp', tcp)
