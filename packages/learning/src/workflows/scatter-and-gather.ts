import { messageOf } from '@hanse/contract'
import type { FobsValue } from '@hanse/fobs'
import type { Shareable } from '@hanse/session'
import type { Acceptance } from '../aggregation/acceptance.ts'
import { numericMetrics } from '../aggregation/mean-metrics.ts'
import { stepsOf } from '../aggregation/weights.ts'
import type {
  Aggregator,
  Persistor,
  ShareableGenerator,
  Workflow,
} from '../components/contracts.ts'
import { isAggregator, isPersistor, isShareableGenerator } from '../components/guards.ts'
import { needComponent } from '../components/need-component.ts'
import type { WorkflowContext } from '../components/run-context.ts'
import { LearningError } from '../learning-error.ts'
import { carriesDxo, type Dxo, isValueMap, readDxo } from '../model/dxo.ts'
import { META } from '../model/fl-model.ts'
import type { Learnable } from '../model/learnable.ts'
import { taskReturnCode } from '../model/return-codes.ts'
import { awaitTask } from './await-task.ts'
import { ModelSaves } from './model-saves.ts'
import { failureText, ResultErrors } from './result-errors.ts'
import { roundTask } from './round-task.ts'
import { saveGlobalModel } from './save-global-model.ts'

/** Arguments of ScatterAndGather under our names (workflows.md §3). */
export interface ScatterAndGatherSettings {
  /** Answers before the wait begins; a round also ends when all sites have answered. */
  readonly minClients: number
  readonly numRounds: number
  readonly startRound: number
  readonly waitMs: number
  readonly aggregatorId: string
  /** Empty: the model starts empty and is saved as safetensors only. */
  readonly persistorId: string
  readonly generatorId: string
  readonly taskName: string
  /** Per round; 0: none. */
  readonly timeoutMs: number
  readonly ignoreResultError: boolean | null
  readonly allowEmptyGlobalWeights: boolean
  /** 0: only after the last round. */
  readonly persistEveryRounds: number
}

interface Parts {
  readonly aggregator: Aggregator
  readonly generator: ShareableGenerator
  readonly persistor: Persistor | undefined
}

/**
 * Sends the global model to all sites, gathers what enough of them return, aggregates and repeats. Results
 * that come after their round's task has ended are offered to the aggregator, which takes those of the
 * round that is running.
 */
export class ScatterAndGather implements Workflow {
  readonly #settings: ScatterAndGatherSettings
  /** While results are being gathered; late ones count only then. */
  #gathering:
    | { readonly context: WorkflowContext; readonly aggregator: Aggregator; readonly round: number }
    | undefined

  constructor(settings: ScatterAndGatherSettings) {
    this.#settings = settings
  }

  async run(context: WorkflowContext): Promise<void> {
    const { numRounds, startRound, persistEveryRounds } = this.#settings
    const { state, events, workflowId } = context
    const parts = this.#parts(context)
    state.startRound = startRound
    state.totalRounds = numRounds
    if (parts.persistor !== undefined) {
      const loaded = await parts.persistor.load()
      // An earlier workflow may have left a model in the state.
      if (loaded.weights.size > 0 || this.#settings.allowEmptyGlobalWeights)
        state.globalModel = loaded
      if (state.globalModel.weights.size === 0 && !this.#settings.allowEmptyGlobalWeights)
        throw new LearningError(
          'ERR_MODEL',
          'there is no initial model: give the persistor one, or set allow_empty_global_weights',
        )
    }
    await events.fire({ type: 'initial-model-loaded', model: state.globalModel })
    await events.fire({ type: 'training-started', workflow: workflowId })
    const last = startRound + numRounds - 1
    await using saves = new ModelSaves()
    for (let round = startRound; round <= last; round++) {
      context.signal.throwIfAborted()
      state.currentRound = round
      await this.#round(context, parts, round)
      const isDue = persistEveryRounds > 0 && (round - startRound + 1) % persistEveryRounds === 0
      const { globalModel } = state
      if (isDue || round === last)
        await saves.begin(() => this.#save(context, parts.persistor, globalModel, round))
      await events.fire({ type: 'round-finished', round, totalRounds: numRounds })
      await parts.aggregator.reset()
    }
    await saves.done()
    await events.fire({ type: 'training-finished', workflow: workflowId, model: state.globalModel })
  }

  async onLateResult(site: string, taskName: string, result: Shareable): Promise<void> {
    const gathering = this.#gathering
    if (gathering === undefined || taskName !== this.#settings.taskName) return
    if (taskReturnCode(result) !== 'OK') return
    await this.#offer(gathering.context, gathering.aggregator, site, result, gathering.round)
  }

  #parts(context: WorkflowContext): Parts {
    const { aggregatorId, generatorId, persistorId } = this.#settings
    return {
      aggregator: needComponent(context, aggregatorId, isAggregator, 'aggregator'),
      generator: needComponent(context, generatorId, isShareableGenerator, 'shareable generator'),
      persistor:
        persistorId === ''
          ? undefined
          : needComponent(context, persistorId, isPersistor, 'persistor'),
    }
  }

  async #round(
    context: WorkflowContext,
    { aggregator, generator }: Parts,
    round: number,
  ): Promise<void> {
    const { taskName, timeoutMs, minClients, waitMs, numRounds, startRound, ignoreResultError } =
      this.#settings
    const { state, events, tasks, signal } = context
    const sites = context.sites()
    await events.fire({ type: 'round-started', round, startRound, totalRounds: numRounds, sites })
    const errors = new ResultErrors(ignoreResultError, sites.length, minClients)
    this.#gathering = { context, aggregator, round }
    const outcome = await awaitTask(
      tasks.post({
        name: taskName,
        data: roundTask(generator.toShareable(state.globalModel), round, numRounds),
        targets: sites,
        distribution: { kind: 'broadcast', minResponses: minClients, waitMs },
        timeoutMs,
        operator: new Map<string, FobsValue>([
          ['op_id', taskName],
          ['method', 'bcast'],
          ['timeout', timeoutMs / 1000],
          ['aggregator', this.#settings.aggregatorId],
        ]),
        onResult: (site, result) => this.#take(context, aggregator, errors, site, result, round),
      }),
      { signal },
    )
    if (outcome.status !== 'ok')
      context.log.warn('the round goes on without some sites', {
        round,
        status: outcome.status,
        answered: outcome.answered.length,
        asked: sites.length,
      })
    this.#gathering = undefined
    await events.fire({ type: 'before-aggregation', round })
    const { dxo, sites: accepted } = await aggregator.aggregate(round)
    await events.fire({
      type: 'after-aggregation',
      round,
      accepted,
      metrics:
        dxo.kind === 'METRICS' && isValueMap(dxo.data) ? numericMetrics(dxo.data) : undefined,
      weighting: 'steps',
    })
    state.globalModel = generator.toLearnable(dxo, state.globalModel)
    await events.fire({ type: 'model-updated', round, model: state.globalModel })
  }

  async #take(
    context: WorkflowContext,
    aggregator: Aggregator,
    errors: ResultErrors,
    site: string,
    result: Shareable,
    round: number,
  ): Promise<void> {
    const code = taskReturnCode(result)
    if (code === 'OK') return this.#offer(context, aggregator, site, result, round)
    const goesOn = errors.tolerates(site)
    context.log.warn('a site answered with an error', { site, round, code, goesOn })
    await context.events.fire({
      type: 'contribution',
      report: { site, round, accepted: false, reason: code },
    })
    if (!goesOn)
      throw new LearningError(
        'ERR_RESULT',
        `site '${site}' has no result for round ${round}: ${failureText(result)}`,
      )
  }

  async #offer(
    { events, log }: WorkflowContext,
    aggregator: Aggregator,
    site: string,
    result: Shareable,
    round: number,
  ): Promise<void> {
    const dxo = carriesDxo(result) ? tryRead(result) : undefined
    await events.fire({ type: 'before-contribution', site, round, result, dxo })
    let acceptance: Acceptance
    try {
      acceptance = await aggregator.accept(site, result, round)
    } catch (error) {
      acceptance = { accepted: false, reason: messageOf(error) }
    }
    if (!acceptance.accepted)
      log.warn('a contribution was refused', { site, round, reason: acceptance.reason })
    const metrics = dxo?.meta.get(META.initialMetrics)
    await events.fire({
      type: 'contribution',
      report: {
        site,
        round,
        accepted: acceptance.accepted,
        reason: acceptance.accepted ? undefined : acceptance.reason,
        steps: dxo && stepsOf(dxo.meta),
        weight: acceptance.accepted ? acceptance.weight : undefined,
        metrics: isValueMap(metrics) ? numericMetrics(metrics) : undefined,
      },
    })
  }

  async #save(
    context: WorkflowContext,
    persistor: Persistor | undefined,
    model: Learnable,
    round: number,
  ): Promise<void> {
    await saveGlobalModel(context, model, round)
    const path = await persistor?.save(model)
    if (path !== undefined) await context.events.fire({ type: 'model-saved', round, path })
  }
}

function tryRead(result: Shareable): Dxo | undefined {
  try {
    return readDxo(result)
  } catch {
    return undefined // the aggregator refuses it with the reason
  }
}
