export {
  abandonActiveJobs,
  type ChangeJobOptions,
  changeJobState,
  type DeleteResult,
  deleteJob,
  formatDuration,
  type JobChange,
  setJobMeta,
} from './change-job.ts'
export { datasetsOf } from './check-app-config.ts'
export type { ComponentCatalogue, Side } from './component-catalogue.ts'
export { type ConfigFile, findConfig, readConfig } from './config-file.ts'
export { contentHash } from './content-hash.ts'
export { type DeployMap, namedClients, readDeployMap, resolveDeployMap } from './deploy-map.ts'
export { checkDeployedApp, readDeployedConfig } from './deployed-config.ts'
export { JobFiles } from './job-files.ts'
export { readJobFolder } from './job-folder.ts'
export {
  JobMetaSchema,
  mandatoryClientsOf,
  minClientsOf,
  type ParsedJobMeta,
} from './job-meta.ts'
export { canFollow, isActive, isTerminal, stateOfExit } from './job-state.ts'
export { JobsError, type JobsErrorCode } from './jobs-error.ts'
export { launcherBringsCode, resolveLauncherOptions } from './launcher-spec.ts'
export { createMemoryJobStore } from './memory-job-store.ts'
export { ALL_SITES, DATASET_NAME, JOB_NAME, SERVER_SITE, SITE_NAME } from './names.ts'
export { cloneJobMeta, type NewJobFacts, newJobMeta, type Submitter } from './new-job.ts'
export { parseHocon } from './parse-hocon.ts'
export { formatProblems, type Problem, type ProblemCode } from './problem.ts'
export {
  LAUNCHER_MODES,
  type LauncherMode,
  resolveResources,
  resourceRequirement,
} from './resource-spec.ts'
export {
  type Candidate,
  failedTry,
  type HopelessJob,
  planSchedule,
  type ScheduleFacts,
  type ScheduleOptions,
  type SchedulePlan,
  type WaitCode,
  type WaitingJob,
} from './schedule.ts'
export { type JobManifest, type JobSigner, signJob } from './sign-job.ts'
export { isSignatureFile } from './signature-files.ts'
export {
  type SubmissionProof,
  type SubmissionUse,
  submissionObjection,
} from './submission-proof.ts'
export {
  checkTrainerCommand,
  parseTrainerCommand,
  type TrainerCommand,
  type TrainerCommandCheck,
  type TrainerCommandCode,
  type TrainerCommandContext,
} from './trainer-command.ts'
export {
  type JobValidation,
  type ValidateJobOptions,
  type ValidJob,
  validateJob,
} from './validate-job.ts'
export {
  type SignatureCode,
  type SignatureVerdict,
  type Signer,
  type VerifyJobOptions,
  verifyJob,
} from './verify-job.ts'
