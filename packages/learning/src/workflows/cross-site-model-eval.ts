import { messageOf } from '@hanse/contract'
import { Shareable } from '@hanse/session'
import { decodeDxoFile, encodeDxoFile } from '../codecs/dxo-file.ts'
import type { ModelLocator, ValidationResults, Workflow } from '../components/contracts.ts'
import { isFormatter, isModelLocator } from '../components/guards.ts'
import { needComponent } from '../components/need-component.ts'
import type { WorkflowContext } from '../components/run-context.ts'
import { LearningError } from '../learning-error.ts'
import { type Dxo, mapOf, readDxo, type ValueMap, withDxo } from '../model/dxo.ts'
import { HEADER } from '../model/fl-model.ts'
import { taskReturnCode } from '../model/return-codes.ts'
import { awaitTask } from './await-task.ts'
import { failureText } from './result-errors.ts'

/** Arguments of CrossSiteModelEval and GlobalModelEval under our names (workflows.md §6). */
export interface CrossSiteModelEvalSettings {
  /** In the run's folder, for models and results. */
  readonly folder: string
  /** Empty: sites are not asked for models of their own. */
  readonly submitTaskName: string
  readonly validateTaskName: string
  /** For all sites together; 0: none. */
  readonly submitTimeoutMs: number
  /** For one model at all sites; 0: none. */
  readonly validationTimeoutMs: number
  /** Empty: no models of the server are tried. */
  readonly locatorId: string
  /** Empty: the results are not logged. */
  readonly formatterId: string
  /** Empty: all sites. */
  readonly participants: readonly string[]
  /** Whether the models are deleted at the end. */
  readonly cleanUp: boolean
}

/** Models that sites try at the same time: so many are in memory, the others wait in their files. */
const MAX_STANDING_MODELS = 4
/** The model that a site is asked for. */
const BEST_MODEL = 'best_model'
const SERVER_PREFIX = 'SRV_'

/**
 * Has every site try every model: the server's and, with a submit task, the best one of each site. A site that
 * has no model or cannot try one is left out of the results, with a line in the log.
 */
export class CrossSiteModelEval implements Workflow {
  readonly #settings: CrossSiteModelEvalSettings
  #current: Evaluation | undefined

  constructor(settings: CrossSiteModelEvalSettings) {
    this.#settings = settings
  }

  async run(context: WorkflowContext): Promise<void> {
    const { locatorId, formatterId } = this.#settings
    const locator =
      locatorId === ''
        ? undefined
        : needComponent(context, locatorId, isModelLocator, 'model locator')
    const formatter =
      formatterId === '' ? undefined : needComponent(context, formatterId, isFormatter, 'formatter')
    const evaluation = new Evaluation(this.#settings, context, this.#sites(context))
    this.#current = evaluation
    try {
      await evaluation.run(locator)
    } finally {
      this.#current = undefined
      if (this.#settings.cleanUp) await evaluation.removeModels()
    }
    if (formatter !== undefined)
      context.log.info('evaluation results', { results: formatter.format(evaluation.results) })
  }

  async onLateResult(site: string, taskName: string, result: Shareable): Promise<void> {
    const { submitTaskName, validateTaskName } = this.#settings
    if (taskName === validateTaskName) await this.#current?.takeLateMetrics(site, result)
    else if (taskName === submitTaskName) await this.#current?.takeModel(site, result)
  }

  #sites(context: WorkflowContext): readonly string[] {
    const live = context.sites()
    const { participants } = this.#settings
    const missing = participants.find((site) => !live.includes(site))
    if (missing !== undefined)
      throw new LearningError('ERR_ROUND', `site '${missing}' of participating_clients is not here`)
    if (live.length === 0) throw new LearningError('ERR_ROUND', 'no site is here to try models')
    return participants.length > 0 ? participants : live
  }
}

class Evaluation {
  readonly #settings: CrossSiteModelEvalSettings
  readonly #context: WorkflowContext
  readonly #sites: readonly string[]
  readonly #stop = new AbortController()
  readonly #signal: AbortSignal
  /** Owner → file of the model. */
  readonly #models = new Map<string, string>()
  /** Owners whose models have not been sent yet. */
  readonly #waiting: string[] = []
  /** What has to end before the evaluation does. */
  #running: Promise<void>[] = []
  #standing = 0
  readonly #results = new Map<string, Map<string, ValueMap>>()

  constructor(
    settings: CrossSiteModelEvalSettings,
    context: WorkflowContext,
    sites: readonly string[],
  ) {
    this.#settings = settings
    this.#context = context
    this.#sites = sites
    this.#signal = AbortSignal.any([context.signal, this.#stop.signal])
  }

  get results(): ValidationResults {
    return this.#results
  }

  async run(locator: ModelLocator | undefined): Promise<void> {
    if (this.#settings.submitTaskName !== '') this.#start(this.#gather())
    if (locator !== undefined) this.#start(this.#locate(locator))
    while (this.#running.length > 0) await Promise.all(this.#running.splice(0))
    this.#signal.throwIfAborted()
  }

  /** Keeps a site's model and has it tried. */
  async takeModel(site: string, result: Shareable): Promise<void> {
    const dxo = this.#read(site, result, 'model')
    if (dxo !== undefined) await this.#add(site, dxo)
  }

  /** The cookie says which model they are of. */
  async takeLateMetrics(site: string, result: Shareable): Promise<void> {
    const jar = result.headers.get(HEADER.cookieJar)
    const owner = jar instanceof Map ? jar.get(HEADER.modelOwner) : undefined
    if (typeof owner === 'string' && this.#models.has(owner) && this.#sites.includes(site))
      await this.#takeMetrics(site, owner, result)
  }

  async removeModels(): Promise<void> {
    for (const path of this.#models.values()) await this.#context.files.remove(path)
  }

  /** Asks the sites for their models. */
  async #gather(): Promise<void> {
    const { submitTaskName, submitTimeoutMs } = this.#settings
    const data = new Shareable()
    data.headers.set(HEADER.submitModelName, BEST_MODEL)
    const outcome = await awaitTask(
      this.#context.tasks.post({
        name: submitTaskName,
        data,
        targets: this.#sites,
        distribution: { kind: 'broadcast' },
        timeoutMs: submitTimeoutMs,
        onResult: (site, result) => this.takeModel(site, result),
      }),
      { signal: this.#signal },
    )
    if (outcome.status !== 'ok')
      this.#context.log.warn('not all sites submitted a model', {
        status: outcome.status,
        answered: outcome.answered.length,
        asked: this.#sites.length,
      })
  }

  async #locate(locator: ModelLocator): Promise<void> {
    for (const name of locator.names()) {
      const dxo = await locator.locate(name)
      if (dxo === undefined)
        throw new LearningError('ERR_MODEL', `the server has no model "${name}" to be tried`)
      await this.#add(`${SERVER_PREFIX}${name}`, dxo)
    }
  }

  async #add(owner: string, dxo: Dxo): Promise<void> {
    if (this.#models.has(owner))
      return this.#context.log.warn('a second model of that name is not used', { model: owner })
    const path = `${this.#settings.folder}/model_shareables/${owner}`
    this.#models.set(owner, path)
    await this.#context.files.write(path, encodeDxoFile(dxo))
    this.#waiting.push(owner)
    this.#pump()
  }

  #pump(): void {
    while (this.#standing < MAX_STANDING_MODELS && !this.#signal.aborted) {
      const owner = this.#waiting.shift()
      if (owner === undefined) return
      this.#standing += 1
      this.#start(
        this.#validate(owner).finally(() => {
          this.#standing -= 1
          this.#pump()
        }),
      )
    }
  }

  async #validate(owner: string): Promise<void> {
    const { validateTaskName, validationTimeoutMs } = this.#settings
    const { files, tasks, log } = this.#context
    const bytes = await files.read(this.#models.get(owner) ?? '')
    if (bytes === undefined)
      throw new LearningError('ERR_MODEL', `the model of ${owner} is gone from the run's folder`)
    const data = withDxo(decodeDxoFile(bytes))
    data.headers.set(HEADER.modelOwner, owner)
    data.headers.set(HEADER.cookieJar, new Map([[HEADER.modelOwner, owner]]))
    const outcome = await awaitTask(
      tasks.post({
        name: validateTaskName,
        data,
        targets: this.#sites,
        distribution: { kind: 'broadcast' },
        timeoutMs: validationTimeoutMs,
        onResult: (site, result) => this.#takeMetrics(site, owner, result),
      }),
      { signal: this.#signal },
    )
    if (outcome.status !== 'ok')
      log.warn('not all sites tried a model', {
        model: owner,
        status: outcome.status,
        answered: outcome.answered.length,
        asked: this.#sites.length,
      })
  }

  async #takeMetrics(site: string, owner: string, result: Shareable): Promise<void> {
    const dxo = this.#read(site, result, 'metrics')
    if (dxo === undefined) return
    const { files, events } = this.#context
    const path = `${this.#settings.folder}/result_shareables/${site}_${owner}`
    await files.write(path, encodeDxoFile(dxo))
    const metrics = mapOf(dxo)
    const own = this.#results.get(site) ?? new Map<string, ValueMap>()
    this.#results.set(site, own.set(owner, metrics))
    await events.fire({ type: 'validation-result', site, modelOwner: owner, metrics })
  }

  /** What a site sent; `undefined`, and said in the log, when it is no use. */
  #read(site: string, result: Shareable, wanted: 'model' | 'metrics'): Dxo | undefined {
    const { log } = this.#context
    try {
      if (taskReturnCode(result) !== 'OK')
        throw new LearningError('ERR_RESULT', failureText(result))
      const dxo = readDxo(result)
      if (dxo.kind === 'COLLECTION' || (wanted === 'metrics') !== (dxo.kind === 'METRICS'))
        throw new LearningError('ERR_DXO', `${dxo.kind} cannot be taken for ${wanted}`)
      return dxo
    } catch (error) {
      log.warn('a site takes no part in a step of the evaluation', {
        site,
        wanted,
        reason: messageOf(error),
      })
      return undefined
    }
  }

  /** Runs beside the others; the first failure ends all. */
  #start(work: Promise<void>): void {
    this.#running.push(
      work.catch((error: unknown) => {
        this.#stop.abort(error)
      }),
    )
  }
}
