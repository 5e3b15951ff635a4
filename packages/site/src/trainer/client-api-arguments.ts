import { type ClientApiExecutorArgs, LearningError } from '@hanse/learning'
import type { TaskExchange } from './trainer.ts'

/** Arguments of ClientAPIExecutor as the catalogue has read them, and the data sets, which are ours. */
export type TrainerArguments = ClientApiExecutorArgs & {
  /** Names of the data sets that the job wants. */
  readonly datasets?: readonly string[] | undefined
}

/** What the arguments say about tasks; times become milliseconds. */
export function taskExchangeOf(args: TrainerArguments): TaskExchange {
  return {
    taskNames: {
      train: args.train_task_name,
      evaluate: args.evaluate_task_name,
      submitModel: args.submit_model_task_name,
    },
    trainWithEvaluation: args.train_with_evaluation,
    transferType: args.params_transfer_type,
    clientApi: {
      exchangeFormat: args.params_exchange_format,
      serverFormat: args.server_expected_format,
      memoryGcRounds: args.memory_gc_rounds,
      cudaEmptyCache: args.cuda_empty_cache,
    },
    launchOnce: args.launch_once,
    launchTimeoutMs: milliseconds(args.launch_timeout),
    resultTimeoutMs: milliseconds(args.result_wait_timeout),
    stopGraceMs: ((args.shutdown_timeout ?? 0) + args.stop_grace_period) * 1000,
  }
}

/** Runtimes by the script's ending, for the mode in which a job names no program. */
const RUNTIME_BY_ENDING = new Map([
  ['py', 'python3'],
  ...['js', 'mjs', 'cjs', 'ts', 'mts', 'cts'].map((ending) => [ending, 'node'] as const),
])

/**
 * The command of the job's trainer. `in_process` becomes one as well: a job's code never runs inside ours.
 * @throws {LearningError} `ERR_COMPONENT_ARGS`
 */
export function trainerCommandOf(args: TrainerArguments): string | readonly string[] {
  switch (args.execution_mode) {
    case 'external_process':
      if (args.command) return args.command
      break
    case 'in_process': {
      const path = args.task_script_path ?? ''
      const runtime = RUNTIME_BY_ENDING.get(path.slice(path.lastIndexOf('.') + 1))
      const words = args.task_script_args.split(/\s+/).filter((word) => word !== '')
      // Stock looks for it in custom/; a path that begins there is meant from the app's folder.
      const script = path.startsWith('custom/') ? path : `custom/${path}`
      if (runtime !== undefined) return [runtime, script, ...words]
      break
    }
    case 'attach':
      throw new LearningError(
        'ERR_COMPONENT_ARGS',
        'execution_mode attach is not supported: a site starts its trainers itself, confined; use external_process',
      )
  }
  throw new LearningError('ERR_COMPONENT_ARGS', 'ClientAPIExecutor is given no script to run')
}

function milliseconds(seconds: number | null | undefined): number | undefined {
  return seconds === null || seconds === undefined ? undefined : seconds * 1000
}
