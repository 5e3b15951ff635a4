export {
  type ClientPackage,
  findClientPackages,
} from './confinement/client-packages.ts'
export type { ConfinedProgram, TrainerLimits } from './confinement/confined-program.ts'
export { type ConfinementLevel, meetsLevel } from './confinement/confinement-level.ts'
export { type ConfinementTools, findConfinementTools } from './confinement/confinement-tools.ts'
export type { NamespaceTool } from './confinement/namespace-tool.ts'
export {
  type ConfinedProcess,
  type ConfinementReport,
  createTrainerLauncher,
  detectConfinement,
  failedInSetup,
  type TrainerLauncher,
  type TrainerLauncherComponents,
} from './confinement/trainer-launcher.ts'
export { ownNodeRuntime, type TrainerRuntime } from './confinement/trainer-runtime.ts'
export type { GroupProcess } from './group-process.ts'
export type { JobProcess } from './job-process.ts'
export {
  JobProcesses,
  type JobProcessesComponents,
  type JobProcessesOptions,
} from './job-processes.ts'
export { LaunchError, type LaunchErrorCode } from './launch-error.ts'
export type { OutputLogOptions } from './output-log.ts'
export {
  openParentPipe,
  PARENT_PIPE,
  type ParentPipe,
  type ParentPipeOptions,
} from './parent-pipe.ts'
export { describeExit, type ProcessExit } from './process-exit.ts'
