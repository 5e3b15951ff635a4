import { messageOf } from '@hanse/contract'
import type { Shareable } from '@hanse/session'
import { numericMetrics } from '../aggregation/mean-metrics.ts'
import { stepsOf } from '../aggregation/weights.ts'
import type { Persistor, ShareableGenerator, Workflow } from '../components/contracts.ts'
import { isPersistor, isShareableGenerator } from '../components/guards.ts'
import { needComponent } from '../components/need-component.ts'
import type { WorkflowContext } from '../components/run-context.ts'
import { LearningError } from '../learning-error.ts'
import { isValueMap, readDxo } from '../model/dxo.ts'
import { HEADER, META } from '../model/fl-model.ts'
import { taskReturnCode } from '../model/return-codes.ts'
import { awaitTask } from './await-task.ts'
import { failureText } from './result-errors.ts'
import { roundTask } from './round-task.ts'
import { saveGlobalModel } from './save-global-model.ts'

/** Who gets the model after whom: an order made each round, or sites by name. */
export type CyclicOrder = 'FIXED' | 'RANDOM' | 'RANDOM_WITHOUT_SAME_IN_A_ROW' | readonly string[]

/** Arguments of CyclicController under our names (workflows.md §5). */
export interface CyclicControllerSettings {
  readonly numRounds: number
  /** How long a site may take to fetch the model before the next one may; 0: for ever. */
  readonly assignmentMs: number
  readonly persistorId: string
  readonly generatorId: string
  readonly taskName: string
  readonly order: CyclicOrder
  /** Whether a site may end the workflow with `EARLY_TERMINATION`. */
  readonly allowEarlyTermination: boolean
  /** 0: only at the end. */
  readonly persistEveryRounds: number
}

interface Parts {
  readonly generator: ShareableGenerator
  readonly persistor: Persistor
}

/**
 * Hands the model from site to site: each trains on what the one before made of it. A site that fails ends the
 * job, where stock's ends as if nothing had happened; a site that does not fetch the model in time is left out
 * of the round.
 */
export class CyclicController implements Workflow {
  readonly #settings: CyclicControllerSettings

  constructor(settings: CyclicControllerSettings) {
    this.#settings = settings
  }

  async run(context: WorkflowContext): Promise<void> {
    const { numRounds, persistEveryRounds, persistorId, generatorId } = this.#settings
    const { state, events, workflowId } = context
    const parts: Parts = {
      generator: needComponent(context, generatorId, isShareableGenerator, 'shareable generator'),
      persistor: needComponent(context, persistorId, isPersistor, 'persistor'),
    }
    state.startRound = 0
    state.totalRounds = numRounds
    state.globalModel = await parts.persistor.load()
    await events.fire({ type: 'initial-model-loaded', model: state.globalModel })
    await events.fire({ type: 'training-started', workflow: workflowId })
    let last: string | undefined
    for (let round = 0; round < numRounds; round++) {
      context.signal.throwIfAborted()
      state.currentRound = round
      const sites = this.#order(context, last)
      last = sites.at(-1)
      await events.fire({
        type: 'round-started',
        round,
        startRound: 0,
        totalRounds: numRounds,
        sites,
      })
      const goesOn = await this.#round(context, parts.generator, sites, round)
      const isDue = persistEveryRounds > 0 && (round + 1) % persistEveryRounds === 0
      if (isDue || !goesOn || round === numRounds - 1)
        await this.#save(context, parts.persistor, round)
      await events.fire({ type: 'round-finished', round, totalRounds: numRounds })
      if (!goesOn) break
    }
    await events.fire({ type: 'training-finished', workflow: workflowId, model: state.globalModel })
  }

  #order({ sites, random }: WorkflowContext, last: string | undefined): readonly string[] {
    const live = sites()
    if (live.length < 2)
      throw new LearningError('ERR_ROUND', `a cycle needs two sites, ${live.length} are here`)
    const { order } = this.#settings
    if (typeof order !== 'string') {
      const missing = order.find((site) => !live.includes(site))
      if (missing === undefined) return order
      throw new LearningError('ERR_ROUND', `site '${missing}' of the order is not here`)
    }
    if (order === 'FIXED') return live
    const shuffled = [...live]
    for (let i = shuffled.length - 1; i > 0; i--) {
      const j = Math.floor(random() * (i + 1))
      ;[shuffled[i], shuffled[j]] = [shuffled[j]!, shuffled[i]!]
    }
    if (order === 'RANDOM_WITHOUT_SAME_IN_A_ROW' && shuffled[0] === last)
      shuffled.push(...shuffled.splice(0, 1))
    return shuffled
  }

  /** @returns whether the workflow goes on */
  async #round(
    context: WorkflowContext,
    generator: ShareableGenerator,
    sites: readonly string[],
    round: number,
  ): Promise<boolean> {
    const { taskName, assignmentMs, numRounds, allowEarlyTermination } = this.#settings
    const { state, tasks, signal, log } = context
    let endedBy: string | undefined
    const task = tasks.post({
      name: taskName,
      data: () => roundTask(generator.toShareable(state.globalModel), round, numRounds),
      targets: sites,
      distribution: { kind: 'relay', order: 'sequential', assignmentMs },
      onResult: async (site, result) => {
        const wantsToEnd = await takeTurn(context, generator, { site, result, round })
        if (!wantsToEnd) return
        if (!allowEarlyTermination)
          return log.warn('a site may not end the training: it goes on', { site, round })
        endedBy = site
        task.cancel()
      },
    })
    const outcome = await awaitTask(task, { signal }).catch((error: unknown) => {
      // The end that a site asked for is no failure.
      if (endedBy === undefined || signal.aborted) throw error
    })
    if (outcome === undefined) {
      log.info('a site ends the training', { site: endedBy, round })
      return false
    }
    if (outcome.answered.length === 0)
      throw new LearningError('ERR_ROUND', `no site took part in round ${round}`)
    if (outcome.status !== 'ok')
      log.warn('the round went on without some sites', {
        round,
        status: outcome.status,
        answered: outcome.answered.length,
        asked: sites.length,
      })
    return true
  }

  async #save(context: WorkflowContext, persistor: Persistor, round: number): Promise<void> {
    const { state, events } = context
    await saveGlobalModel(context, state.globalModel, round)
    const path = await persistor.save(state.globalModel)
    await events.fire({ type: 'model-saved', round, path })
  }
}

/**
 * Makes a site's answer the model.
 * @returns whether the site wants the training to end
 */
async function takeTurn(
  { state, events, log }: WorkflowContext,
  generator: ShareableGenerator,
  { site, result, round }: { site: string; result: Shareable; round: number },
): Promise<boolean> {
  if (result.headers.get(HEADER.replyIsLate) === true) {
    log.warn('a turn comes too late: the model has gone on', { site, round })
    return false
  }
  const code = taskReturnCode(result)
  const wantsToEnd = code === 'EARLY_TERMINATION'
  try {
    if (code !== 'OK' && !wantsToEnd)
      throw new LearningError(
        'ERR_RESULT',
        `site '${site}' has no result for round ${round}: ${failureText(result)}`,
      )
    const dxo = readDxo(result)
    state.globalModel = generator.toLearnable(dxo, state.globalModel)
    const metrics = dxo.meta.get(META.initialMetrics)
    await events.fire({
      type: 'contribution',
      report: {
        site,
        round,
        accepted: true,
        steps: stepsOf(dxo.meta),
        metrics: isValueMap(metrics) ? numericMetrics(metrics) : undefined,
      },
    })
    await events.fire({ type: 'model-updated', round, model: state.globalModel })
  } catch (error) {
    const reason = messageOf(error)
    log.warn('a turn was refused', { site, round, reason })
    await events.fire({ type: 'contribution', report: { site, round, accepted: false, reason } })
    // Who ends the training need not bring a model.
    if (!wantsToEnd) throw error
  }
  return wantsToEnd
}
