import { describeDriver } from '../../driver-socket/test/driver-suite.ts'
import { http } from './http.ts'

describeDriver({ name: 'http', schemes: ['http', 'https'], secureScheme: 'https', create: http })
