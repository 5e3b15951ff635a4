import { join } from 'node:path'
import { setFlagsFromString } from 'node:v8'
import { createCell } from '@hanse/cellnet'
import { systemClock } from '@hanse/contract'
import { pipeConnection } from '@hanse/driver-tcp'
import { openParentPipe } from '@hanse/launcher-process'
import { setArraysAside } from '@hanse/learning'
import { createPinoLogger, isLogLevel } from '@hanse/logger-pino'
import { openArrayFile } from '@hanse/store-file'
import { serverJobCell } from '../jobs/job-process-protocol.ts'
import { serverJobRegistry } from './job-registry.ts'
import { readRunFile } from './run-file.ts'
import { runServerJob, SPOOL_FOLDER } from './run-server-job.ts'

// Received bytes count as garbage by proportion, not by every 64 MB (docs/decisions/0010).
setFlagsFromString('--external-memory-accounted-in-global-limit')
// What messages leave behind is little; room for more of it stays taken (docs/decisions/0010).
setFlagsFromString('--semi-space-growth-factor=1')

// The process of one job at the server, its server at the other end of the pipe. It may wait long for its job.
const parent = openParentPipe()
const folder = await parent.assignment()
process.chdir(folder)
const run = await readRunFile(folder)
const clock = systemClock
const logger = createPinoLogger({ level: isLogLevel(run.logLevel) ? run.logLevel : 'info' })
const arrays = await openArrayFile(join(folder, SPOOL_FOLDER))
const cell = createCell(serverJobCell(run.jobId), {
  drivers: [],
  registry: serverJobRegistry(),
  clock,
  logger,
  setAside: setArraysAside(arrays, logger),
  store: arrays,
})
const link = cell.adopt(pipeConnection(parent.stream, { name: 'server', clock }), 'active')
await link.ready
const setLogLevel = (level: string) => {
  if (isLogLevel(level)) logger.setLevel(level)
}
// Means are saved with checksums; what comes from sites needs none mostly.
const means = arrays.apart()
process.exitCode = await runServerJob(
  { cell, clock, logger, setLogLevel, arrays: means },
  folder,
  run,
)
parent.release()
await cell[Symbol.asyncDispose]()
process.exit()
