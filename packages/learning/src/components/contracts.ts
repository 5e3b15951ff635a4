import type { JsonObject, Logger } from '@hanse/contract'
import type { FobsValue } from '@hanse/fobs'
import type { Shareable } from '@hanse/session'
import type { Acceptance } from '../aggregation/acceptance.ts'
import type { DataKind } from '../model/data-kind.ts'
import type { Dxo, ValueMap } from '../model/dxo.ts'
import type { FLModel } from '../model/fl-model.ts'
import type { Learnable } from '../model/learnable.ts'
import type { WorkflowContext } from './run-context.ts'

/** Steps of a job at the server, one after the other. A throw fails the job. */
export interface Workflow {
  run(context: WorkflowContext): Promise<void>
  /**
   * An answer to a task that has ended, while this workflow runs. It may still use it; a throw is logged.
   */
  onLateResult?(site: string, taskName: string, result: Shareable): void | Promise<void>
}

/** Makes one result of many, on the level of messages (ScatterAndGather). */
export interface Aggregator {
  /** Keeps the contribution or refuses it; it counts whole or not at all. */
  accept(site: string, result: Shareable, round: number): Promise<Acceptance>
  /**
   * The result of what was accepted, with the sites that are in it.
   * @throws {LearningError} `ERR_ROUND` when there is nothing
   */
  aggregate(round: number): Promise<AggregateDxo>
  /** Forgets all contributions. */
  reset(): Promise<void>
}

/** What an aggregator made. */
export interface AggregateDxo {
  readonly dxo: Dxo
  readonly sites: readonly string[]
}

/** Makes one model of many (FedAvg's `aggregator` argument). */
export interface ModelAggregator {
  acceptModel(site: string, model: FLModel): void | Promise<void>
  aggregateModel(): FLModel | Promise<FLModel>
  reset(): void | Promise<void>
}

/** Makes one model of what sites sent by an algorithm of its own, for the aggregators that collect. */
export interface Assembler {
  readonly expectedKind: DataKind
  /**
   * What of a site's data is kept.
   * @throws {LearningError} `ERR_CONTRIBUTION` when it lacks something or does not fit
   */
  read(data: ValueMap): ValueMap
  /** @param contributions site → what was kept, in the order of the sites' names; at least one */
  assemble(contributions: ReadonlyMap<string, ValueMap>): Map<string, FobsValue>
}

/** Turns the global model into a task and an aggregate into the next global model (workflows.md §8.3). */
export interface ShareableGenerator {
  toShareable(model: Learnable): Shareable
  /** @throws {LearningError} `ERR_MODEL` when the aggregate does not fit the model */
  toLearnable(aggregate: Dxo, current: Learnable): Learnable
}

/** Keeps the global model in files. */
export interface Persistor {
  /** The model to start with; with empty weights when there is none. */
  load(): Promise<Learnable>
  /** @returns the path of the file in the run's folder */
  save(model: Learnable): Promise<string>
}

/** Finds models at the server that sites are to try. */
export interface ModelLocator {
  names(): readonly string[]
  /** @returns `undefined` when the model is not there */
  locate(name: string): Promise<Dxo | undefined>
}

/** What sites measured on models: site → owner of the model → metrics. */
export type ValidationResults = ReadonlyMap<string, ReadonlyMap<string, ValueMap>>

/** Makes the results of an evaluation readable. */
export interface Formatter {
  format(results: ValidationResults): string
}

/** Keeps the outcome of federated statistics. */
export interface StatisticsWriter {
  /** @param report feature → statistic → site or `Global` → data set → value */
  saveStatistics(report: JsonObject): Promise<void>
}

/** Where a filter stands. */
export interface FilterContext {
  readonly taskName: string
  /** `in`: what this process received; `out`: what it sends. */
  readonly direction: 'in' | 'out'
  /** `data` goes to sites, `result` comes from them. */
  readonly payload: 'data' | 'result'
  /** At a site, with a result: the data of the task that it answers, as the executor got it. */
  readonly task?: Shareable | undefined
  /** The site at the other end, at the server; this site, at a site. */
  readonly site: string
  readonly log: Logger
  /** Uniform in [0, 1). Cryptographic where privacy depends on it. */
  readonly random: () => number
}

/** Changes a message on its way, or refuses it by throwing. */
export interface Filter {
  /** Kinds of data of which it holds something back; absent: it looks at every message. */
  readonly kinds?: ReadonlySet<DataKind>
  /** @returns `message` or a new one; `message` itself is not changed, as others may share it */
  process(message: Shareable, context: FilterContext): Shareable | Promise<Shareable>
}

/** What an executor may use. */
export interface ExecutorContext {
  readonly siteName: string
  readonly jobId: string
  readonly signal: AbortSignal
  readonly log: Logger
}

/** One task at a site. */
export interface ExecutorTask {
  readonly id: string
  readonly name: string
  readonly data: Shareable
}

/**
 * Does tasks at a site. A `LearningError` with `ERR_RESULT` says that the work ran and its outcome is bad;
 * any other throw that it failed.
 */
export interface Executor {
  execute(task: ExecutorTask, context: ExecutorContext): Promise<Shareable>
}
