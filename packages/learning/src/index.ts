export type { Acceptance } from './aggregation/acceptance.ts'
export {
  type Contribution,
  type ContributionMean,
  ContributionStore,
  type ContributionStoreComponents,
  type ContributionStoreOptions,
  type ContributionStores,
  createContributionStores,
} from './aggregation/contribution-store.ts'
export type { Spool, SpoolFactory } from './aggregation/spool.ts'
export {
  CollectAndAssembleAggregator,
  CollectAndAssembleModelAggregator,
} from './aggregators/collect-and-assemble.ts'
export {
  InTimeWeightedAggregator,
  type InTimeWeightedAggregatorSettings,
} from './aggregators/in-time-weighted-aggregator.ts'
export { KMeansAssembler } from './assemblers/k-means-assembler.ts'
export type { ConfigElement } from './catalogue/app-config.ts'
export {
  type AppProblem,
  buildClientApp,
  buildServerApp,
  type ClientApp,
  checkApp,
  type ServerApp,
} from './catalogue/build-app.ts'
export {
  buildPlaceFilters,
  type PlaceFilterConfig,
  type PlaceFilterLists,
  placeFilterSchema,
} from './catalogue/build-place-filters.ts'
export {
  type BuildContext,
  type Catalogue,
  type ComponentEntry,
  type ComponentKind,
  type ComponentSide,
  clientComponent,
  commonComponent,
  createCatalogue,
  type SiteContext,
  serverComponent,
} from './catalogue/catalogue.ts'
export { resolveVariables, type VariableSources } from './catalogue/resolve-variables.ts'
export { type StandardComponents, standardComponents } from './catalogue/standard-components.ts'
export {
  edgeCodecs,
  heCodecs,
  learningCodecs,
  modelObjectCodecs,
  numpyCodecs,
  relayedNumpyCodecs,
  statisticsCodecs,
  torchCodecs,
} from './codecs/index.ts'
export type {
  AggregateDxo,
  Aggregator,
  Assembler,
  Executor,
  ExecutorContext,
  ExecutorTask,
  Filter,
  FilterContext,
  Formatter,
  ModelAggregator,
  ModelLocator,
  Persistor,
  ShareableGenerator,
  StatisticsWriter,
  ValidationResults,
  Workflow,
} from './components/contracts.ts'
export { EventBus } from './components/event-bus.ts'
export type { RunContext, WorkflowContext } from './components/run-context.ts'
export {
  type ContributionReport,
  type EventHandler,
  isEventHandler,
  type RunEvent,
  type RunEvents,
} from './components/run-events.ts'
export type { RunFiles } from './components/run-files.ts'
export { RunState } from './components/run-state.ts'
export {
  type ClientApiExecutorArgs,
  clientApiExecutorArgs,
} from './executors/client-api-executor-args.ts'
export { ExecutorTable } from './executors/executor-table.ts'
export { matchesPattern } from './executors/task-pattern.ts'
export {
  TaskRunner,
  type TaskRunnerComponents,
  type TaskRunnerOptions,
} from './executors/task-runner.ts'
export { type ConvertDirection, ConvertWeights } from './filters/convert-weights.ts'
export { DxoBlocker } from './filters/dxo-blocker.ts'
export { type DxoChange, DxoFilter } from './filters/dxo-filter.ts'
export { excludeVars, type VariableNames } from './filters/exclude-vars.ts'
export { type FilterChain, FilterChains } from './filters/filter-chains.ts'
export { type PercentilePrivacySettings, percentilePrivacy } from './filters/percentile-privacy.ts'
export {
  type PlaceFilter,
  PlaceFilterChain,
  type PlaceFilterChainOptions,
  type PlaceFilterReport,
} from './filters/place-filter-chain.ts'
export { type SvtPrivacySettings, svtPrivacy } from './filters/svt-privacy.ts'
export { NpFormatter } from './formatters/np-formatter.ts'
export { FullModelShareableGenerator } from './generators/full-model-shareable-generator.ts'
export { LearningError, type LearningErrorCode } from './learning-error.ts'
export { NpModelLocator } from './locators/np-model-locator.ts'
export { DATA_KINDS, type DataKind, isDataKind, readDataKind } from './model/data-kind.ts'
export {
  carriesDxo,
  type Dxo,
  isValueMap,
  mapOf,
  readDxo,
  type ValueMap,
  withDxo,
} from './model/dxo.ts'
export {
  type FLModel,
  HEADER,
  META,
  modelToShareable,
  type ParamsType,
  shareableToModel,
} from './model/fl-model.ts'
export { EMPTY_LEARNABLE, type Learnable } from './model/learnable.ts'
export { scalarOf } from './model/numbers.ts'
export { RETURN_CODES, type ReturnCode, taskReturnCode } from './model/return-codes.ts'
export { releaseArrays, setArraysAside } from './model/set-arrays-aside.ts'
export { JoblibParamPersistor } from './persistors/joblib-param-persistor.ts'
export {
  NpFileModelPersistor,
  type NpFileModelPersistorSettings,
} from './persistors/np-file-model-persistor.ts'
export {
  NpModelPersistor,
  type NpModelPersistorSettings,
  NUMPY_KEY,
} from './persistors/np-model-persistor.ts'
export { JsonStatsFileWriter } from './statistics/json-stats-file-writer.ts'
export type {
  Distribution,
  StandingTask,
  TaskOutcome,
  TaskPoster,
  TaskSpec,
  TaskStatus,
} from './tasks/task.ts'
export {
  TaskBoard,
  type TaskBoardComponents,
  type TaskBoardOptions,
  type TaskFilter,
} from './tasks/task-board.ts'
export { ConvertToFedEvent } from './widgets/convert-to-fed-event.ts'
export {
  InTimeModelSelector,
  type InTimeModelSelectorSettings,
} from './widgets/in-time-model-selector.ts'
export {
  MetricsArtifactWriter,
  type MetricsArtifactWriterSettings,
  type MetricsLimits,
} from './widgets/metrics-artifact-writer.ts'
export { ValidationJsonGenerator } from './widgets/validation-json-generator.ts'
export { awaitTask } from './workflows/await-task.ts'
export {
  CrossSiteModelEval,
  type CrossSiteModelEvalSettings,
} from './workflows/cross-site-model-eval.ts'
export {
  CyclicController,
  type CyclicControllerSettings,
  type CyclicOrder,
} from './workflows/cyclic-controller.ts'
export { FedAvg, type FedAvgSettings } from './workflows/fed-avg.ts'
export type { FedAvgExtension } from './workflows/fed-avg-extension.ts'
export { NewtonRaphson, type NewtonRaphsonSettings } from './workflows/newton-raphson.ts'
export { runWorkflows } from './workflows/run-workflows.ts'
export { GLOBAL_MODEL_FILE, saveGlobalModel } from './workflows/save-global-model.ts'
export { ScaffoldControl } from './workflows/scaffold-control.ts'
export { ScatterAndGather, type ScatterAndGatherSettings } from './workflows/scatter-and-gather.ts'
export {
  StatisticsController,
  type StatisticsControllerSettings,
} from './workflows/statistics-controller.ts'
export { parseStopCondition, type StopCondition } from './workflows/stop-condition.ts'
