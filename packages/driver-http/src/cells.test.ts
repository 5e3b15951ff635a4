import { describeCells } from '../../driver-socket/test/cells-suite.ts'
import { http } from './http.ts'

describeCells('http', http)
