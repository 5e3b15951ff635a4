import { messageOf } from '@hanse/contract'
import type { FobsValue } from '@hanse/fobs'
import type { Shareable } from '@hanse/session'
import type { Acceptance } from '../aggregation/acceptance.ts'
import type { ContributionStore } from '../aggregation/contribution-store.ts'
import { meanMetrics, numericMetrics } from '../aggregation/mean-metrics.ts'
import { stepsOf } from '../aggregation/weights.ts'
import type { ModelAggregator, Persistor, Workflow } from '../components/contracts.ts'
import { isPersistor } from '../components/guards.ts'
import type { WorkflowContext } from '../components/run-context.ts'
import { LearningError } from '../learning-error.ts'
import { carriesDxo, readDxo, type ValueMap } from '../model/dxo.ts'
import {
  type FLModel,
  HEADER,
  META,
  modelToShareable,
  shareableToModel,
} from '../model/fl-model.ts'
import type { Learnable } from '../model/learnable.ts'
import { taskReturnCode } from '../model/return-codes.ts'
import { awaitTask } from './await-task.ts'
import { encodeFLModel } from './encode-fl-model.ts'
import type { FedAvgExtension } from './fed-avg-extension.ts'
import { addDifference, differenceMisfit } from './model-difference.ts'
import { ModelSaves } from './model-saves.ts'
import { failureText, ResultErrors } from './result-errors.ts'
import { saveGlobalModel } from './save-global-model.ts'
import { EarlyStopping, type StopCondition } from './stop-condition.ts'

/** Arguments of FedAvg under our names (workflows.md §4.1). */
export interface FedAvgSettings {
  /** Sites per round, drawn anew each round. */
  readonly numClients: number
  readonly numRounds: number
  readonly startRound: number
  readonly taskName: string
  readonly persistorId: string
  /** Where the job has none of that id. */
  readonly defaultPersistor?: Persistor | undefined
  /** See `ResultErrors`. */
  readonly ignoreResultError: boolean | null
  readonly allowEmptyGlobalWeights: boolean
  /** Initial params, instead of the persistor's. */
  readonly model?: ValueMap | undefined
  /** Replaces the weighted mean. */
  readonly aggregator?: ModelAggregator | undefined
  readonly stopCondition?: StopCondition | undefined
  /** Rounds without improvement; 0: no limit. */
  readonly patience: number
  /** Parameters that are left out of the mean. */
  readonly exclude?: ((name: string) => boolean) | undefined
  /** Factor per site, 1 for those not named. */
  readonly aggregationWeights: ReadonlyMap<string, number>
  /** Sent to sites for their proximal term; 0: not sent. */
  readonly fedProxMu: number
  /** Without a persistor the model is also written to this file, as stock does; `undefined`: not. */
  readonly saveFileName?: string | undefined
  /** What is averaged besides the parameters; without an aggregator only. */
  readonly extension?: FedAvgExtension | undefined
}

interface Part {
  readonly site: string
  readonly weight: number
  /** `undefined`: the site sent none. */
  readonly metrics: ReadonlyMap<string, number> | undefined
}

/** What came out of a round, to be saved while the next one is under way. */
interface RoundModel {
  readonly model: FLModel
  /** The same as persistors know it. */
  readonly globalModel: Learnable
  readonly round: number
}

interface Round {
  readonly number: number
  readonly store: ContributionStore
  readonly errors: ResultErrors
  readonly parts: Map<string, Part>
  readonly global: ValueMap
}

/**
 * Federated averaging: every round sends the model to sampled sites, takes the weighted mean of what they
 * return and makes it the next model. All sampled sites must answer. A round in which no contribution
 * counts fails the job, where stock would go on with an empty model.
 */
export class FedAvg implements Workflow {
  readonly #settings: FedAvgSettings

  constructor(settings: FedAvgSettings) {
    this.#settings = settings
  }

  async run(context: WorkflowContext): Promise<void> {
    const { numRounds, startRound, stopCondition, patience } = this.#settings
    const { state, events, workflowId } = context
    state.startRound = startRound
    state.totalRounds = numRounds
    await events.fire({ type: 'training-started', workflow: workflowId })
    const persistor = this.#persistor(context)
    let model = await this.#initialModel(context, persistor)
    this.#settings.extension?.begin(state.globalModel.weights)
    await events.fire({ type: 'initial-model-loaded', model: state.globalModel })
    const stopping = stopCondition && new EarlyStopping(stopCondition, patience)
    await using saves = new ModelSaves()
    let saved = false
    for (let round = startRound; round < startRound + numRounds; round++) {
      context.signal.throwIfAborted()
      state.currentRound = round
      const { next, metrics } = await this.#round(context, model, round)
      model = next
      const verdict = stopping?.judge(metrics)
      if (verdict === undefined || verdict.better) {
        const { globalModel } = state
        await saves.begin(() => this.#save(context, persistor, { model: next, globalModel, round }))
        saved = true
      }
      await events.fire({ type: 'round-finished', round, totalRounds: numRounds })
      if (verdict?.stop) {
        context.log.info('training stops early', { round, condition: stopCondition?.text })
        break
      }
    }
    await saves.done()
    if (!saved && state.currentRound !== undefined) {
      context.log.warn('no site reported the metric of stop_cond: the last model is kept', {
        condition: stopCondition?.text,
      })
      await saveGlobalModel(context, state.globalModel, state.currentRound)
    }
    await events.fire({ type: 'training-finished', workflow: workflowId, model: state.globalModel })
  }

  #persistor(context: WorkflowContext): Persistor | undefined {
    const { persistorId, defaultPersistor } = this.#settings
    const component = persistorId === '' ? undefined : context.component(persistorId)
    if (isPersistor(component)) return component
    if (defaultPersistor !== undefined) return defaultPersistor
    if (persistorId !== '')
      context.log.warn(
        'the job has no persistor of that name; the model is saved as safetensors only',
        {
          persistorId,
        },
      )
    return undefined
  }

  async #initialModel(
    context: WorkflowContext,
    persistor: Persistor | undefined,
  ): Promise<FLModel> {
    const { model, allowEmptyGlobalWeights } = this.#settings
    const { state } = context
    if (model !== undefined) state.globalModel = { weights: model, meta: new Map() }
    else if (persistor !== undefined) {
      const loaded = await persistor.load()
      // An earlier workflow may have left a model in the state.
      if (loaded.weights.size > 0 || allowEmptyGlobalWeights) state.globalModel = loaded
      if (state.globalModel.weights.size === 0 && !allowEmptyGlobalWeights)
        throw new LearningError(
          'ERR_MODEL',
          'there is no initial model: give the persistor one, or set allow_empty_global_weights',
        )
    }
    return { paramsType: 'FULL', params: state.globalModel.weights, meta: state.globalModel.meta }
  }

  async #round(
    context: WorkflowContext,
    model: FLModel,
    number: number,
  ): Promise<{ next: FLModel; metrics: ReadonlyMap<string, number> | undefined }> {
    const { taskName, numRounds, startRound, ignoreResultError, aggregator, extension } =
      this.#settings
    const { events, tasks, signal, contributions, state } = context
    const sites = this.#sample(context)
    await events.fire({
      type: 'round-started',
      round: number,
      startRound,
      totalRounds: numRounds,
      sites,
    })
    await using store = contributions.create()
    await aggregator?.reset()
    const round: Round = {
      number,
      store,
      errors: new ResultErrors(ignoreResultError, sites.length, sites.length),
      parts: new Map(),
      global: state.globalModel.weights,
    }
    const outcome = await awaitTask(
      tasks.post({
        name: taskName,
        data: this.#task(model, number),
        targets: sites,
        distribution: { kind: 'broadcast' },
        operator: new Map<string, FobsValue>([
          ['op_id', taskName],
          ['method', 'bcast'],
          ['timeout', 0],
        ]),
        onResult: (site, result) => this.#take(context, round, site, result),
      }),
      { signal },
    )
    if (outcome.status !== 'ok')
      context.log.warn('the round goes on without some sites', {
        round: number,
        status: outcome.status,
        answered: outcome.answered.length,
        asked: sites.length,
      })
    await events.fire({ type: 'before-aggregation', round: number })
    const { aggregate, accepted, metrics } = await this.#aggregate(round)
    await events.fire({
      type: 'after-aggregation',
      round: number,
      accepted,
      metrics,
      weighting: aggregator !== undefined ? undefined : extension ? 'steps' : 'factor-and-steps',
      stopCondition: this.#settings.stopCondition,
    })
    const next = this.#update(round.global, aggregate, number, accepted.length)
    state.globalModel = { weights: next.params ?? new Map(), meta: next.meta }
    await events.fire({ type: 'model-updated', round: number, model: state.globalModel })
    return { next, metrics }
  }

  /** A random subset of the sites, in the order of registration. */
  #sample({ sites, random, log }: WorkflowContext): readonly string[] {
    const all = sites()
    const { numClients } = this.#settings
    if (numClients > all.length)
      log.error('fewer sites than num_clients: all are used', { numClients, sites: all.length })
    if (numClients >= all.length) return all
    const indices = all.map((_, index) => index)
    for (let i = 0; i < numClients; i++) {
      const j = i + Math.floor(random() * (indices.length - i))
      ;[indices[i], indices[j]] = [indices[j]!, indices[i]!]
    }
    return indices
      .slice(0, numClients)
      .sort((a, b) => a - b)
      .map((index) => all[index]!)
  }

  #task(model: FLModel, round: number): Shareable {
    const { startRound, numRounds, fedProxMu, extension } = this.#settings
    const meta = new Map([...model.meta, ...(extension?.taskMeta() ?? [])])
    if (fedProxMu > 0) meta.set(META.fedProxMu, fedProxMu)
    const task = modelToShareable({
      ...model,
      meta,
      startRound,
      currentRound: round,
      totalRounds: numRounds,
    })
    task.headers.set(HEADER.cookieJar, new Map([[HEADER.contributionRound, round]]))
    return task
  }

  async #take(
    context: WorkflowContext,
    round: Round,
    site: string,
    result: Shareable,
  ): Promise<void> {
    const { events, log } = context
    await events.fire({
      type: 'before-contribution',
      site,
      round: round.number,
      result,
      dxo: carriesDxo(result) ? tryRead(result) : undefined,
    })
    const code = taskReturnCode(result)
    if (code !== 'OK') {
      const goesOn = round.errors.tolerates(site)
      log.warn('a site answered with an error', { site, round: round.number, code, goesOn })
      await events.fire({
        type: 'contribution',
        report: { site, round: round.number, accepted: false, reason: code },
      })
      if (!goesOn)
        throw new LearningError(
          'ERR_RESULT',
          `site '${site}' has no result for round ${round.number}: ${failureText(result)}`,
        )
      return
    }
    let acceptance: Acceptance
    let model: FLModel | undefined
    try {
      model = shareableToModel(result)
      acceptance = await this.#accept(round, site, model)
    } catch (error) {
      acceptance = { accepted: false, reason: messageOf(error) }
    }
    const metrics = model?.metrics && numericMetrics(model.metrics)
    if (acceptance.accepted) round.parts.set(site, { site, weight: acceptance.weight, metrics })
    else
      log.warn('a contribution was refused', {
        site,
        round: round.number,
        reason: acceptance.reason,
      })
    await events.fire({
      type: 'contribution',
      report: {
        site,
        round: round.number,
        accepted: acceptance.accepted,
        reason: acceptance.accepted ? undefined : acceptance.reason,
        steps: model && stepsOf(model.meta),
        weight: acceptance.accepted ? acceptance.weight : undefined,
        metrics,
      },
    })
  }

  async #accept(round: Round, site: string, model: FLModel): Promise<Acceptance> {
    const { aggregator, aggregationWeights, exclude, extension } = this.#settings
    const params = model.params ?? new Map<string, FobsValue>()
    if (params.size === 0) return { accepted: false, reason: 'it has no parameters' }
    const weight = (aggregationWeights.get(site) ?? 1) * stepsOf(model.meta)
    if (aggregator !== undefined) {
      const meta = new Map([...model.meta, [META.clientName, site] as [string, FobsValue]])
      await aggregator.acceptModel(site, { ...model, meta })
      return { accepted: true, weight }
    }
    const algorithm = model.meta.get(META.processedAlgorithm)
    if (algorithm !== undefined && algorithm !== null)
      return { accepted: false, reason: `it was processed (${String(algorithm)}) and not undone` }
    const kept = exclude ? new Map([...params].filter(([name]) => !exclude(name))) : params
    const kind = model.paramsType ?? 'FULL'
    const misfit = kind === 'DIFF' ? differenceMisfit(kept, round.global) : undefined
    if (misfit !== undefined) return { accepted: false, reason: misfit }
    const counted = extension?.contribution(kept, model.meta) ?? kept
    return round.store.add({ site, params: counted, weight, kind })
  }

  async #aggregate(round: Round): Promise<{
    aggregate: FLModel
    accepted: readonly string[]
    metrics: ReadonlyMap<string, number> | undefined
  }> {
    const { aggregator, extension } = this.#settings
    const parts = [...round.parts.values()].sort((a, b) => (a.site < b.site ? -1 : 1))
    if (parts.length === 0)
      throw new LearningError('ERR_ROUND', `no contribution of round ${round.number} was accepted`)
    if (aggregator !== undefined) {
      const aggregate = await aggregator.aggregateModel()
      const metrics = aggregate.metrics && numericMetrics(aggregate.metrics)
      return { aggregate, accepted: parts.map(({ site }) => site), metrics }
    }
    const { params: averaged, kind, sites } = await round.store.mean()
    const params = extension?.takeMeans(averaged) ?? averaged
    const counted = new Set(sites)
    const measured = parts.flatMap(({ site, weight, metrics }) =>
      counted.has(site) ? [{ weight, metrics }] : [],
    )
    // A mean over some of the sites only would look like one over all.
    const complete = measured.flatMap(({ weight, metrics }) =>
      metrics ? [{ weight, metrics }] : [],
    )
    const means = complete.length === measured.length ? meanMetrics(complete) : undefined
    const metrics = means && means.size > 0 ? means : undefined
    return {
      aggregate: {
        paramsType: kind === 'DIFF' ? 'DIFF' : 'FULL',
        params,
        metrics,
        meta: new Map(),
      },
      accepted: sites,
      metrics,
    }
  }

  #update(global: ValueMap, aggregate: FLModel, round: number, count: number): FLModel {
    const { params, metrics } = aggregate
    const meta = new Map<string, FobsValue>([
      ...aggregate.meta,
      ['nr_aggregated', count],
      [META.currentRound, round],
    ])
    if (params === undefined)
      throw new LearningError('ERR_ROUND', 'the aggregator returned no parameters')
    if (aggregate.paramsType !== 'DIFF') return { paramsType: 'FULL', params, metrics, meta }
    return { paramsType: 'FULL', params: addDifference(global, params), metrics, meta }
  }

  async #save(
    context: WorkflowContext,
    persistor: Persistor | undefined,
    { model, globalModel, round }: RoundModel,
  ): Promise<void> {
    await saveGlobalModel(context, globalModel, round)
    const path =
      persistor === undefined
        ? await this.#saveAlone(context, model, round)
        : await persistor.save(globalModel)
    if (path !== undefined) await context.events.fire({ type: 'model-saved', round, path })
  }

  async #saveAlone(
    { files }: WorkflowContext,
    model: FLModel,
    round: number,
  ): Promise<string | undefined> {
    const { saveFileName, startRound, numRounds } = this.#settings
    if (saveFileName === undefined) return undefined
    const rounds = { startRound, totalRounds: numRounds, currentRound: round }
    await files.write(saveFileName, encodeFLModel({ ...model, ...rounds }))
    return saveFileName
  }
}

function tryRead(result: Shareable): ReturnType<typeof readDxo> | undefined {
  try {
    return readDxo(result)
  } catch {
    return undefined // the contribution will be refused with the reason
  }
}
