import type { AbortOptions } from '@hanse/contract'
import { ClientError } from '../client-error.ts'
import type { TrainerWelcome } from '../messages.ts'
import type { TrainerModel } from '../trainer-model.ts'
import { TrainerSession } from '../trainer-session.ts'
import { openInheritedPipe } from './inherited-pipe.ts'

// A trainer is a program with one site: the Client API's functions share that one session.
let opening: Promise<TrainerSession> | undefined
let current: TrainerSession | undefined

/**
 * Connects to the site that started this program; the first call. Again: the same session.
 *
 * When the site is gone without saying so, the program ends with exit code 1: nobody would take its results.
 * @throws {ClientError} `ERR_TRAINER_CLOSED` when no site started the program
 */
export async function init(): Promise<void> {
  opening ??= openSession()
  current = await opening
}

async function openSession(): Promise<TrainerSession> {
  const { HANSE_TRAINER_PIPE } = process.env
  const fd = Number(HANSE_TRAINER_PIPE ?? Number.NaN)
  if (!Number.isInteger(fd))
    throw new ClientError(
      'ERR_TRAINER_CLOSED',
      'HANSE_TRAINER_PIPE is not set: trainers are started by a site, through a job',
    )
  return await TrainerSession.open(openInheritedPipe(fd), {
    onLost(error) {
      console.error(`${error.message}; ending`)
      process.exit(1)
    },
  })
}

/** Waits for the next task; false when the job has ended or was stopped. */
export function isRunning(options?: AbortOptions): Promise<boolean> {
  return session().isRunning(options)
}

/** The current task's model, waiting for the task; the same one until {@link send}. `undefined` at the end. */
export function receive(options?: AbortOptions): Promise<TrainerModel | undefined> {
  return session().receive(options)
}

/**
 * Answers the received task with params, metrics or both.
 * @param model its arrays must not change until the promise resolves
 * @throws {ClientError} `ERR_TRAINER_ORDER`, `ERR_TRAINER_VALUE`
 */
export function send(model: TrainerModel): Promise<void> {
  return session().send(model)
}

/** Reports one number, e.g. the loss of a step. */
export function log(
  key: string,
  value: number,
  options?: { readonly step?: number },
): Promise<void> {
  return session().log(key, value, options)
}

/** True while the current task asks for training. */
export function isTrain(): boolean {
  return session().taskName === session().welcome.taskNames.train
}

/** True while the current task asks for metrics of the model, and for nothing else. */
export function isEvaluate(): boolean {
  return session().taskName === session().welcome.taskNames.evaluate
}

/** True while the current task asks for the site's own best model. */
export function isSubmitModel(): boolean {
  return session().taskName === session().welcome.taskNames.submitModel
}

/** Name of the current task. */
export function getTaskName(): string {
  return session().taskName
}

export function getJobId(): string {
  return session().welcome.jobId
}

export function getSiteName(): string {
  return session().welcome.siteName
}

export function systemInfo(): { readonly siteName: string; readonly jobId: string } {
  const { siteName, jobId } = session().welcome
  return { siteName, jobId }
}

/** How the job wants tasks to be handled. */
export function getConfig(): Pick<
  TrainerWelcome,
  'taskNames' | 'trainWithEvaluation' | 'transferType'
> {
  const { taskNames, trainWithEvaluation, transferType } = session().welcome
  return { taskNames, trainWithEvaluation, transferType }
}

/** Read-only folders of the data sets that the site grants this job, by name. */
export function datasets(): Readonly<Record<string, string>> {
  return session().welcome.datasets
}

/** The one folder to write in; it lasts as long as this program. */
export function scratchDirectory(): string {
  return session().welcome.scratchDirectory
}

/** Ends the session; further tasks go nowhere. */
export function shutdown(): void {
  session().close()
}

function session(): TrainerSession {
  if (current === undefined) throw new ClientError('ERR_TRAINER_ORDER', 'call init() first')
  return current
}
