import { join } from 'node:path'
import { setFlagsFromString } from 'node:v8'
import { createCell } from '@hanse/cellnet'
import { systemClock } from '@hanse/contract'
import { pipeConnection } from '@hanse/driver-tcp'
import { coreCodecs, createFobsRegistry } from '@hanse/fobs'
import {
  createTrainerLauncher,
  detectConfinement,
  findClientPackages,
  openParentPipe,
} from '@hanse/launcher-process'
import { edgeCodecs, learningCodecs, setArraysAside } from '@hanse/learning'
import { createPinoLogger, isLogLevel } from '@hanse/logger-pino'
import { adminCodecs, jobCell, platformCodecs } from '@hanse/session'
import { openArrayFile } from '@hanse/store-file'
import { readSiteRunFile } from './run-file.ts'
import { runSiteJob } from './run-site-job.ts'

// Received bytes count as garbage by proportion, not by every 64 MB (docs/decisions/0010).
setFlagsFromString('--external-memory-accounted-in-global-limit')
// What messages leave behind is little; room for more of it stays taken (docs/decisions/0010).
setFlagsFromString('--semi-space-growth-factor=1')

// The process of one job at a site, its site at the other end of the pipe. It may wait long for its job.
const parent = openParentPipe()
// The job's first trainer need not wait for it.
const detection = detectConfinement()
detection.catch(() => undefined)
const folder = await parent.assignment()
process.chdir(folder)
const run = await readSiteRunFile(folder)
const clock = systemClock
const logger = createPinoLogger({ level: isLogLevel(run.logLevel) ? run.logLevel : 'info' })
const arrays = await openArrayFile(join(folder, 'spool'))
const cell = createCell(jobCell(run.siteCell, run.jobId), {
  drivers: [],
  registry: createFobsRegistry(coreCodecs, platformCodecs, adminCodecs, learningCodecs, edgeCodecs),
  clock,
  logger,
  setAside: setArraysAside(arrays, logger),
  store: arrays,
})
const link = cell.adopt(pipeConnection(parent.stream, { name: 'site', clock }), 'active')
await link.ready
const launcher = createTrainerLauncher({
  logger,
  detection,
  packages: findClientPackages('@hanse/client', import.meta.url),
})
const setLogLevel = (level: string) => {
  if (isLogLevel(level)) logger.setLevel(level)
}
process.exitCode = await runSiteJob(
  { cell, clock, logger, launcher, setLogLevel, arrays },
  folder,
  run,
)
parent.release()
await cell[Symbol.asyncDispose]()
process.exit()
