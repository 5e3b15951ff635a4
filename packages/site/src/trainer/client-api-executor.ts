import { hasCode } from '@hanse/contract'
import {
  type Executor,
  type ExecutorContext,
  type ExecutorTask,
  LearningError,
  modelToShareable,
  shareableToModel,
} from '@hanse/learning'
import type { Shareable } from '@hanse/session'
import type { Framework } from '@hanse/tensor'
import { type TrainerArguments, taskExchangeOf, trainerCommandOf } from './client-api-arguments.ts'
import { fromTrainerModel, toTrainerModel } from './model-conversion.ts'
import {
  createTrainer,
  type Trainer,
  type TrainerComponents,
  type TrainerOptions,
} from './trainer.ts'
import { TrainerError } from './trainer-error.ts'

/** What the site says about trainers, for one job. */
export interface ClientApiExecutorOptions
  extends Omit<TrainerOptions, 'command' | 'inScratch' | 'exchange' | 'datasets'> {
  /** Data sets that the site grants this job, absolute folders by name. A job gets those that it asks for. */
  readonly datasets: ReadonlyMap<string, string>
}

/**
 * Has a job's own trainer do the tasks (client-api.md §5, ClientAPIExecutor). The trainer starts with the first
 * task; dispose the executor when the job is over.
 */
export class ClientApiExecutor implements Executor, AsyncDisposable {
  readonly #trainer: Trainer
  readonly #framework: Framework | undefined

  /**
   * @throws {LearningError} `ERR_COMPONENT_ARGS`
   * @throws {TrainerError} `ERR_TRAINER_DATASET` when the job asks for a data set that it is not granted
   */
  constructor(
    args: TrainerArguments,
    components: TrainerComponents,
    options: ClientApiExecutorOptions,
  ) {
    // A server that counts with PyTorch gets its tensors back as such, whatever the trainer made them with.
    this.#framework = args.server_expected_format === 'pytorch' ? 'torch' : undefined
    this.#trainer = createTrainer(components, {
      ...options,
      command: trainerCommandOf(args),
      inScratch: args.execution_mode === 'in_process',
      exchange: taskExchangeOf(args),
      datasets: Object.fromEntries(
        (args.datasets ?? []).map((name) => [name, granted(name, options.datasets)]),
      ),
    })
  }

  /** The job's trainer, e.g. to learn of its end between tasks. */
  get trainer(): Trainer {
    return this.#trainer
  }

  /**
   * @throws {LearningError} `ERR_RESULT` when the trainer's answer does not fit, `ERR_DXO`, `ERR_MODEL`
   * @throws {TrainerError} when it gave none
   */
  async execute(task: ExecutorTask, { signal }: ExecutorContext): Promise<Shareable> {
    const model = toTrainerModel(shareableToModel(task.data))
    try {
      const result = await this.#trainer.exchange({ name: task.name, model }, { signal })
      return modelToShareable(fromTrainerModel(result, this.#framework))
    } catch (error) {
      if (hasCode(error, 'ERR_TRAINER_RESULT'))
        throw new LearningError('ERR_RESULT', error.message, {}, { cause: error })
      throw error
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#trainer.close()
  }
}

function granted(name: string, datasets: ReadonlyMap<string, string>): string {
  const directory = datasets.get(name)
  if (directory !== undefined) return directory
  throw new TrainerError(
    'ERR_TRAINER_DATASET',
    `the site grants this job no data set "${name}" (granted: ${[...datasets.keys()].join(', ') || 'none'})`,
  )
}
